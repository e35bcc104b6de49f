"""Options that several commands share, and what turns their text into settings.

The options for the fields of a recipe are made from `chalknet.config`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

import click
import cloup

from chalknet.cli.output import echo
from chalknet.cli.parameters import DATA_SOURCE, FILE, FOLDER, MAX_METAVAR, Choice, Words
from chalknet.config import (
    ACTIVATION_NAMES,
    CLASS_WEIGHTS,
    COLORS,
    COLUMN_OPTIONS,
    FULL,
    SAME_AS_SEED,
    SECTION_OF_FIELD,
    SECTIONS,
    SPLIT_METHODS,
    DataConfig,
    Recipe,
    TableOptions,
    constraint_of,
    near_match,
    number_or_text,
)
from chalknet.errors import ConfigError
from chalknet.formatting import printable
from chalknet.training.recipes import DEFAULT_RECIPE, IMAGES_RECIPE, MIN_VALID, RECIPES, ROWS_RECIPE, SINGLE_ROWS_RECIPE

Command = TypeVar("Command", bound=Callable[..., Any])
Decorator = Callable[[Any], Any]

# Flags that are shorter than the name of their field.
FLAG_OF_FIELD = {"train_size": "train", "valid_size": "valid"}
# Placeholders in the help, for fields that take more than a number or a name.
METAVARS = {
    "train_size": "N|FRACTION",
    "valid_size": "N|FRACTION",
    "hidden": "N[xN...]",
    "activation": "NAME[,NAME...]",
    "layers": "TYPE[:N:...],...",
    "category_inputs": "FIRST,N[,FIRST,N...]",
    "class_weights": "equal|balanced|W,W,...",
    "batch_size": f"N|{FULL}",
    "batch_seed": f"N|{SAME_AS_SEED}",
}
# Words that a shell completes, for fields that also take other values.
WORDS = {
    "activation": Words(ACTIVATION_NAMES, is_list=True),
    "class_weights": Words(CLASS_WEIGHTS),
    "batch_size": Words((FULL,)),
    "batch_seed": Words((SAME_AS_SEED,)),
}
# Fields of [training] that concern the machine. They stand in a section of their own.
MACHINE_FIELDS = ("engine", "device", "precision", "dtype", "tile_rows")
# Further defaults in the help, for fields whose default depends on more than the recipe.
OTHER_DEFAULTS = {"stop_early": f"with fewer than {MIN_VALID} validation samples: no"}
IMAGE_FITS = ("stretch", "crop", "pad")
FIT_TEXT = "How to resize images with another aspect ratio: stretch, crop (keep the middle) or pad (add a border)."
# The size of images in a folder, if none is given (`data.readers.folder`).
SIZE_TEXT = "as in the data; different sizes become their medians, at most 64 pixels"
GLYPHS_DEFAULT = "[default: glyphs, built into chalknet]"
DATA_TEXT = (
    "Training data: .npz, .npy, IDX, a table (CSV, TSV, Parquet, Arrow, Excel, JSON Lines), or a folder with one "
    "subfolder of images per class."
)

# The help shows the values of these recipes: for images, for tables, and the write-up's.
TRAINING_RECIPES = (IMAGES_RECIPE, ROWS_RECIPE, "writeup")
STUDY_RECIPES = (IMAGES_RECIPE, SINGLE_ROWS_RECIPE, "writeup")  # a run of a study is one network


def recipe_options(
    *names: str,
    recipes: Sequence[str] = TRAINING_RECIPES,
    hidden: Collection[str] = (),
    texts: Mapping[str, str] | None = None,
    defaults: Mapping[str, str] = OTHER_DEFAULTS,
) -> Decorator:
    """Return a decorator that adds a flag for each of the named fields of a recipe.

    Args:
        names: fields of a recipe.
        recipes: names of recipes whose values the help shows. The first one is the recipe from
            which the command starts.
        hidden: fields that the help leaves out, because the command refuses every value but the
            default. Their flags exist, so that the refusal says what to do instead.
        texts: sentences by field, where the help of this command is not the description of the
            field.
        defaults: further defaults by field.
    """

    def decorate(command: Command) -> Command:
        for name in reversed(names):
            flag = _flag(name)
            text = f"{(texts or {}).get(name) or _meaning(name)}  [{_defaults(name, recipes, defaults.get(name))}]"
            if _is_boolean(name):
                option = cloup.option(f"--{flag}/--no-{flag}", name, default=None, help=text, hidden=name in hidden)
            else:
                option = cloup.option(
                    f"--{flag}", name, type=_type(name), metavar=_metavar(name), help=text, hidden=name in hidden
                )
            command = option(command)
        return command

    return decorate


def section_fields(*sections: str) -> tuple[str, ...]:
    """Return the recipe fields of some sections, without `MACHINE_FIELDS`."""
    return tuple(name for name, home in SECTION_OF_FIELD.items() if home in sections and name not in MACHINE_FIELDS)


def recipe_groups(
    recipes: Sequence[str] = TRAINING_RECIPES,
    hidden: Collection[str] = (),
    texts: Mapping[str, str] | None = None,
) -> Decorator:
    """Return a decorator that adds flags for all fields but [split] and `MACHINE_FIELDS`, by section.

    Args:
        recipes: as in `recipe_options`.
        hidden: as in `recipe_options`.
        texts: as in `recipe_options`.
    """
    groups = [
        cloup.option_group(title, recipe_options(*section_fields(section), recipes=recipes, hidden=hidden, texts=texts))
        for title, section in (
            ("Network", "network"),
            ("Regularization", "regularization"),
            ("Augmentation", "augmentation"),
            ("Optimizer", "optimizer"),
            ("Learning-rate schedule", "schedule"),
            ("Training", "training"),
            ("Early stopping", "stopping"),
        )
    ]

    def decorate(command: Command) -> Command:
        for group in reversed(groups):
            command = group(command)
        return command

    return decorate


def recipe_option(text: str, default: str = DEFAULT_RECIPE) -> Decorator:
    """Return a decorator that adds --recipe, one of the named recipes."""
    names = f"Names: {', '.join(RECIPES)}."
    return cloup.option("--recipe", type=Choice(RECIPES), help=f"{text} {names}  [default: {default}]")


def set_option(command: Command) -> Command:
    """Add the flag that sets any field of the recipe."""
    return cloup.option(
        "--set",
        "assignments",
        multiple=True,
        metavar="SETTING=VALUE",
        help="Set any setting of the recipe, for example learning_rate=3e-3. The config.toml of a run lists all. "
        "Repeat it for more.",
    )(command)


def data_option(text: str) -> Decorator:
    """Return a decorator that adds --data, which names the samples."""
    return cloup.option("--data", type=DATA_SOURCE, metavar="FILE|FOLDER|glyphs", help=text)


def reading_options(default: str = "") -> Decorator:
    """Return a decorator that adds the flags that say how data is read.

    Args:
        default: a default in words that all these flags have before their own.
    """

    def shown(text: str) -> str:
        return f"[default: {', else '.join(filter(None, (default, text)))}]"

    options = (
        cloup.option(
            "--class-names",
            metavar="A,B,C",
            help="Names of the classes 0, 1, 2, ... For text labels and folders: the order of the classes.  "
            f"{shown('as in the data')}",
        ),
        cloup.option(
            "--label-column",
            metavar="NAME|N",
            help="Name of the table column with the labels, or its number (from 0; -1 is the last).  "
            f"{shown('the column named label, class, target or y')}",
        ),
        cloup.option(
            "--image-size",
            metavar="HxW",
            help="Height and width in pixels. Images in a folder are resized to it, and rows of a CSV become images.  "
            f"{shown('the size that the model reads' if default else SIZE_TEXT)}",
        ),
        cloup.option("--image-fit", type=Choice(IMAGE_FITS), help=f"{FIT_TEXT}  {shown('stretch')}"),
        cloup.option(
            "--color",
            type=Choice(COLORS),
            help="Whether images are gray or in color (rgb). Gray images have three equal channels in rgb.  "
            f"{shown('the color that the model reads' if default else 'folders of images: gray, arrays: as they are')}",
        ),
    )

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


data_options: Decorator = reading_options()


def split_options(command: Command) -> Command:
    """Add the flags that say how data is split, with validation and test samples in other files."""
    valid_default = _defaults("valid_size", TRAINING_RECIPES)
    options = (
        recipe_options("split", "train_size"),
        cloup.option(
            "--valid",
            "valid_size",
            type=FILE,
            metavar="N|FRACTION|FILE|FOLDER",
            help="Number of validation samples, their fraction, or a file or folder that holds them. With a file, all "
            f"other samples are training samples unless --train is given.  [{valid_default}]",
        ),
        cloup.option(
            "--test",
            type=FILE,
            metavar="FILE|FOLDER",
            help="Test samples that are stored separately.  "
            "[default: the test split of the data, else the remaining samples]",
        ),
        recipe_options("split_seed"),
    )
    for option in reversed(options):
        command = option(command)
    return command


def table_options(command: Command) -> Command:
    """Add the flags that say how the columns of a table are read."""
    for option in reversed(
        [
            cloup.option("--drop", metavar="NAME,...", help="Columns of a table to leave out."),
            cloup.option(
                "--keep", metavar="NAME,...", help="Columns to use although they number rows, or hold too many texts."
            ),
            cloup.option("--categorical", metavar="NAME,...", help="Columns of categories, also if they hold numbers."),
            cloup.option("--numeric", metavar="NAME,...", help="Columns of numbers. A text in them is an error."),
            table_file_options(),
        ]
    ):
        command = option(command)
    return command


def table_file_options(decimal: str = ".", missing: str = "always") -> Decorator:
    """Return a decorator that adds the flags that say how a table is written.

    Args:
        decimal: the default of --decimal in words.
        missing: when the texts that the help lists mean a missing value.
    """
    options = (
        cloup.option(
            "--missing",
            metavar="TEXT,...",
            help=f"Texts that mean a missing value.  [{missing}: an empty cell, nan, NA, N/A, null, ?]",
        ),
        cloup.option("--decimal", type=Choice((".", ",")), help=f"Decimal mark of a CSV table.  [default: {decimal}]"),
        cloup.option(
            "--delimiter", metavar="MARK", help="Mark between cells of a CSV table: , ; | tab ...  [default: found]"
        ),
        cloup.option(
            "--header/--no-header",
            "header",
            default=None,
            help="Whether the first row of a CSV table has the column names.  [default: found]",
        ),
    )

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def out_option(text: str, metavar: str = "FOLDER", *, required: bool = False) -> Decorator:
    """Return a decorator that adds -o/--out, which names the file or folder to write."""
    return cloup.option(
        "-o", "--out", type=FOLDER if metavar == "FOLDER" else FILE, metavar=metavar, required=required, help=text
    )


def overwrite_option(text: str) -> Decorator:
    """Return a decorator that adds --overwrite."""
    return cloup.option("--overwrite", is_flag=True, help=text)


def quiet_option(text: str) -> Decorator:
    """Return a decorator that adds --quiet."""
    return cloup.option("--quiet", is_flag=True, help=text)


def document_options(command: Command) -> Command:
    """Add --title, --author and --date, which stand at the head of a document."""
    for name, metavar, text in (
        ("--date", "TEXT", "Date below the title, printed as given.  [default: none]"),
        ("--author", "TEXT", "Author below the title.  [default: none]"),
        ("--title", "TEXT", "Title of the document.  [default: a title that describes the content]"),
    ):
        command = cloup.option(name, metavar=metavar, help=text)(command)
    return command


def json_option(text: str = "Print JSON.") -> Decorator:
    """Return a decorator that adds --json."""
    return cloup.option("--json", "as_json", is_flag=True, help=text)


def csv_option(text: str) -> Decorator:
    """Return a decorator that adds --csv."""
    return cloup.option("--csv", "as_csv", is_flag=True, help=text)


def parse_settings(flags: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of the recipe that the user set, as numbers, lists and text.

    The values are not checked here, because `Recipe.with_settings` does that.

    Args:
        flags: the values of all options of a command, by parameter name.

    Raises:
        ConfigError: a field is set twice, or --set names no field.
    """
    given = {name: value for name, value in flags.items() if name in SECTION_OF_FIELD and value is not None}
    assigned = dict(parse_assignment(text) for text in flags.get("assignments", ()))
    twice = sorted(set(given) & set(assigned))
    if twice:
        raise ConfigError(f"{twice[0]} is given twice, as a flag and by --set. Leave one out.")
    return {name: _parse_value(name, value) for name, value in given.items()} | assigned


def parse_assignment(text: str) -> tuple[str, Any]:
    """Return the field and the value in a text such as "optimizer.learning_rate=3e-3".

    The section may be left out.

    Raises:
        ConfigError: there is no such section or field, or no value.
    """
    key, equals, value = text.partition("=")
    section, dot, name = key.strip().rpartition(".")
    if not equals:
        raise ConfigError(f"--set must be SETTING=VALUE, such as learning_rate=3e-3, got {text!r}.")
    if dot and section not in SECTIONS:
        raise ConfigError(f"unknown section {section!r} in --set {text}.{near_match(section, SECTIONS)}")
    known = [field for field, home in SECTION_OF_FIELD.items() if section in ("", home)]
    if name not in known:
        raise ConfigError(f"unknown setting {name!r} in --set {text}.{near_match(name, known)}")
    return name, _parse_value(name, value.strip())


def print_notes(notes: Sequence[str], quiet: bool) -> None:
    """Print notes, such as how data was read, to standard error unless quiet."""
    for note in () if quiet else notes:
        echo(f"note: {printable(note)}", err=True)


def parse_source(source: str | None, flags: dict[str, Any]) -> DataConfig:
    """Return the data that the user named and how to read it.

    Args:
        source: the value of --data, or None.
        flags: the values of the options of `data_options` and, if the command has them, of
            `split_options`, by parameter name. If --valid names a file, it is removed.
    """
    return DataConfig(
        source=source or "",
        valid_source=_take_valid_file(flags) if "test" in flags else "",
        test_source=flags.get("test") or "",
        class_names=_parse_names(flags["class_names"]),
        label_column=flags["label_column"],
        image_size=_parse_size(flags["image_size"]),
        image_fit=flags["image_fit"],
        color=flags["color"],
        table=parse_table_options(flags),
    )


def parse_table_options(flags: dict[str, Any]) -> TableOptions:
    """Return how the columns of a table are read."""
    if "delimiter" not in flags:  # a command without `table_file_options`
        return TableOptions()
    lists = {name: _parse_names(flags.get(name)) or () for name in COLUMN_OPTIONS}
    delimiter = "\t" if flags["delimiter"] == "tab" else flags["delimiter"]
    return TableOptions(**lists, decimal=flags["decimal"], delimiter=delimiter, header=flags["header"])


def _take_valid_file(flags: dict[str, Any]) -> str:
    """Return the file that --valid names and remove it from the flags.

    If --valid is a number or left out, the result is "".
    """
    text = flags["valid_size"]
    if text is None or isinstance(number_or_text(text), (int, float)):
        return ""
    flags["valid_size"] = None
    return str(text)


def _parse_names(text: str | None) -> tuple[str, ...] | None:
    """Return the names in a text such as "A,B,C"."""
    return None if text is None else tuple(name.strip() for name in text.split(","))


def _parse_size(text: str | None) -> tuple[int, int] | None:
    """Return (height, width) of a text such as "28x28" or "28".

    Raises:
        ConfigError: the text is something else.
    """
    if text is None:
        return None
    numbers = text.lower().split("x")
    if len(numbers) > 2 or not all(re.fullmatch("[1-9][0-9]{0,4}", number) for number in numbers):
        raise ConfigError(f"--image-size must be HEIGHTxWIDTH such as 28x28, got {text!r}.")
    return int(numbers[0]), int(numbers[-1])


def _parse_value(name: str, value: Any) -> Any:
    """Return the text of a flag as the number, the list or the text that the field takes."""
    if not isinstance(value, str):
        return value
    if name == "hidden":
        return [number_or_text(width) for width in re.split("[x,]", value.strip("[] ").replace(" ", ""))]
    if name == "layers":
        return [_parse_layer(part.strip()) for part in value.split(",")]
    if isinstance(_default(name), bool):
        return {"true": True, "false": False}.get(value.lower(), value)
    parts = [part.strip().strip("\"'") for part in value.strip("[] ").split(",")]
    if len(parts) > 1:
        return [number_or_text(part) for part in parts]
    return number_or_text(parts[0])


def _parse_layer(text: str) -> dict[str, Any]:
    """Return the table of a layer from TYPE or TYPE:VALUE:..., such as dense:512 or conv2d:32:stride=2.

    A VALUE is the setting at its position, or SETTING=VALUE.

    Raises:
        ConfigError: a setting is given twice, or there are more values than settings.
    """
    from chalknet.network.layer_types import LAYER_TYPES

    name, *parts = (part.strip() for part in text.split(":"))
    settings = [item.name for item in fields(LAYER_TYPES[name])] if name in LAYER_TYPES else []
    table: dict[str, Any] = {"type": name}
    for position, part in enumerate(filter(None, parts)):
        key, equals, value = part.partition("=")
        if not equals:
            if name in LAYER_TYPES and position >= len(settings):
                known = f"the settings {', '.join(settings)}" if settings else "no settings"
                raise ConfigError(f"layer {text}: {name} has {known}, so {part!r} is one too many.")
            key, value = settings[position] if position < len(settings) else "value", part
        if key in table:
            raise ConfigError(f"layer {text}: {key} is given twice.")
        table[key] = _layer_value(value)
    return table


def _layer_value(text: str) -> Any:
    """Return the value of a layer's setting: a number, two numbers such as 3x5, true, false or a text."""
    if re.fullmatch("[0-9]+x[0-9]+", text):
        return [int(number) for number in text.split("x")]
    return {"true": True, "false": False}.get(text.lower(), number_or_text(text))


def _default(name: str) -> Any:
    """Return the default of a field."""
    return getattr(SECTIONS[SECTION_OF_FIELD[name]](), name)


def _is_boolean(name: str) -> bool:
    """Return whether a field is true or false."""
    return isinstance(_default(name), bool)


def _type(name: str) -> click.ParamType[str] | None:
    """Return the type of the flag of a field, or None for plain text."""
    # A split by index arrays cannot be given on the command line, so it is not offered.
    names = SPLIT_METHODS if name == "split" else constraint_of(name).choices
    return Choice(names) if names else WORDS.get(name)


def _metavar(name: str) -> str | None:
    """Return the placeholder for the value of a field in the help, or None if its type has one."""
    if isinstance(_type(name), Choice):
        return None
    return METAVARS.get(name) or {int: "N", float: "X", str: "NAME"}[type(_default(name))]


def _meaning(name: str) -> str:
    """Return the help of a field without its defaults: its meaning, and long lists of choices."""
    text = next(item for item in fields(SECTIONS[SECTION_OF_FIELD[name]]) if item.name == name).metadata["meaning"]
    names = _type(name)
    if isinstance(names, Choice) and len("|".join(names.choices)) + 2 > MAX_METAVAR:
        text = f"{text}: {', '.join(names.choices)}"
    elif name == "activation":
        text = f"{text}: {', '.join(ACTIVATION_NAMES)}"
    text = re.sub("`([a-z0-9_]+)`", lambda found: f"--{_flag(found[1])}", text)
    return f"{text[0].upper()}{text[1:]}."


def _flag(name: str) -> str:
    """Return the flag of a field, without its hyphens at the start."""
    return FLAG_OF_FIELD.get(name, name).replace("_", "-")


def _defaults(name: str, recipes: Sequence[str], other: str | None = None) -> str:
    """Return the defaults of a field, such as "default: 0.1; tables: 0".

    Args:
        name: the field.
        recipes: as in `recipe_options`. If the first one is that for images, the second one is
            used for table rows.
        other: a further default.
    """
    default, *others = (_shown(name, RECIPES[recipe]) for recipe in recipes)
    parts = [f"default: {default}", *filter(None, [other])]
    for recipe, value in zip(recipes[1:], others, strict=True):
        if value != default:
            is_for_rows = recipe in (ROWS_RECIPE, SINGLE_ROWS_RECIPE) and recipes[0] == IMAGES_RECIPE
            parts.append(f"tables: {value}" if is_for_rows else f"with --recipe {recipe}: {value}")
    return "; ".join(parts)


def _shown(name: str, recipe: Recipe) -> str:
    """Return the value of a field in a recipe, as a user types it."""
    value = getattr(getattr(recipe, SECTION_OF_FIELD[name]), name)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name == "hidden" and recipe.name == IMAGES_RECIPE:
        return "a convolutional network"
    if name == "hidden":
        return "x".join(map(str, value))
    if name == "layers":
        return f"those of recipe {recipe.name}" if value else "none"
    if name == "activation":
        return str(value[-1])
    if name == "category_inputs":
        return "those of the table"
    return (
        ",".join(map(str, value))
        if isinstance(value, tuple)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )
