"""Options that several commands share: a recipe's fields, made from config.py, how data are read, and outputs."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, TypeVar

import click
import cloup

from chalknet.cli.output import echo
from chalknet.cli.parameters import DATA_SOURCE, FILE, FOLDER, MAX_METAVAR, Choice, Words
from chalknet.config import (
    ACTIVATION_NAMES,
    CLASS_WEIGHTS,
    FULL,
    SAME_AS_SEED,
    SECTION_OF_FIELD,
    SECTIONS,
    SPLIT_METHODS,
    Constraint,
    DataConfig,
    Recipe,
    near_match,
)
from chalknet.errors import ConfigError
from chalknet.formatting import printable
from chalknet.training.recipes import DEFAULT_RECIPE, RECIPES

Command = TypeVar("Command", bound=Callable[..., Any])
Decorator = Callable[[Any], Any]

# Flags that are shorter than their field's name.
FLAG_OF_FIELD = {"train_size": "train", "valid_size": "valid"}
# What stands for the value in the help of a field whose type does not say it.
METAVARS = {
    "train_size": "N|FRACTION",
    "valid_size": "N|FRACTION",
    "hidden": "N[xN...]",
    "activation": "NAME[,NAME...]",
    "layers": "TYPE[:N],...",
    "class_weights": "equal|balanced|W,W,...",
    "batch_size": f"N|{FULL}",
    "batch_seed": f"N|{SAME_AS_SEED}",
}
# What a shell completes for fields that also take other values.
WORDS = {
    "activation": Words(ACTIVATION_NAMES, is_list=True),
    "class_weights": Words(CLASS_WEIGHTS),
    "batch_size": Words((FULL,)),
    "batch_seed": Words((SAME_AS_SEED,)),
}
# Fields of [training] that say where and how fast a network is trained; the others say how.
MACHINE_FIELDS = ("engine", "device", "precision", "dtype", "tile_rows")
IMAGE_FITS = ("stretch", "crop", "pad")


def recipe_options(*names: str, recipes: Sequence[str] = (DEFAULT_RECIPE, "writeup")) -> Decorator:
    """Return a decorator that adds a flag for each of the named fields of a recipe.

    Args:
        names: recipe fields.
        recipes: the recipe from which the command starts, whose values the help shows as defaults, and those that the
            help compares with it.
    """

    def decorate(command: Command) -> Command:
        for name in reversed(names):
            flag = FLAG_OF_FIELD.get(name, name).replace("_", "-")
            text = _help(name, recipes)
            if _is_boolean(name):
                option = cloup.option(f"--{flag}/--no-{flag}", name, default=None, help=text)
            else:
                option = cloup.option(f"--{flag}", name, type=_type(name), metavar=_metavar(name), help=text)
            command = option(command)
        return command

    return decorate


def section_fields(*sections: str) -> tuple[str, ...]:
    """Return the recipe fields of some sections, without `MACHINE_FIELDS`."""
    return tuple(name for name, home in SECTION_OF_FIELD.items() if home in sections and name not in MACHINE_FIELDS)


def recipe_groups(command: Command) -> Command:
    """Add the flags of all sections of a recipe but [split] and `MACHINE_FIELDS`, each under a heading."""
    for title, section in reversed(
        [
            ("Network", "network"),
            ("Regularization", "regularization"),
            ("Augmentation of images", "augmentation"),
            ("Optimizer", "optimizer"),
            ("Learning-rate schedule", "schedule"),
            ("Training", "training"),
            ("Early stopping", "stopping"),
        ]
    ):
        command = cloup.option_group(title, recipe_options(*section_fields(section)))(command)
    return command


def recipe_option(text: str, default: str = DEFAULT_RECIPE) -> Decorator:
    """Return a decorator that adds --recipe, one of the named recipes."""
    return cloup.option("--recipe", type=Choice(RECIPES), help=f"{text}  [default: {default}]")


def set_option(command: Command) -> Command:
    """Add the flag that sets any field of the recipe."""
    return cloup.option(
        "--set",
        "assignments",
        multiple=True,
        metavar="SECTION.KEY=VALUE",
        help="Set any field of the recipe, for example optimizer.learning_rate=3e-3. Repeat it for more fields.",
    )(command)


def data_option(text: str) -> Decorator:
    """Return a decorator that adds --data, the samples that a command reads."""
    return cloup.option("--data", type=DATA_SOURCE, metavar="FILE|FOLDER|glyphs", help=text)


def data_options(command: Command) -> Command:
    """Add the flags that say how a source is read."""
    for option in reversed(
        [
            cloup.option("--class-names", metavar="A,B,C", help="Names of the classes 0, 1, 2, ..."),
            cloup.option("--label-column", metavar="NAME|N", help="Name or number of the CSV column with the labels."),
            cloup.option("--image-size", metavar="HxW", help="Height and width of the images in a CSV or a folder."),
            cloup.option(
                "--image-fit",
                type=Choice(IMAGE_FITS),
                help="How to fit images of other proportions.  [default: stretch]",
            ),
        ]
    ):
        command = option(command)
    return command


def out_option(text: str, metavar: str = "FOLDER", *, required: bool = False) -> Decorator:
    """Return a decorator that adds -o/--out, where a command writes."""
    return cloup.option(
        "-o", "--out", type=FOLDER if metavar == "FOLDER" else FILE, metavar=metavar, required=required, help=text
    )


def overwrite_option(text: str) -> Decorator:
    """Return a decorator that adds --overwrite."""
    return cloup.option("--overwrite", is_flag=True, help=text)


def quiet_option(text: str) -> Decorator:
    """Return a decorator that adds --quiet."""
    return cloup.option("--quiet", is_flag=True, help=text)


def json_option(text: str = "Print JSON.") -> Decorator:
    """Return a decorator that adds --json."""
    return cloup.option("--json", "as_json", is_flag=True, help=text)


def csv_option(text: str) -> Decorator:
    """Return a decorator that adds --csv."""
    return cloup.option("--csv", "as_csv", is_flag=True, help=text)


def parsed_settings(flags: dict[str, Any]) -> dict[str, Any]:
    """The recipe's fields that were given as flags, as numbers, lists and text; config.py says what is not legal."""
    given = {name: value for name, value in flags.items() if name in SECTION_OF_FIELD and value is not None}
    assigned = dict(parsed_assignment(text) for text in flags.get("assignments", ()))
    twice = sorted(set(given) & set(assigned))
    if twice:
        raise ConfigError(f"{twice[0]} is given twice, as a flag and by --set.")
    return {name: _parsed(name, value) for name, value in given.items()} | assigned


def parsed_assignment(text: str) -> tuple[str, Any]:
    """ "optimizer.learning_rate=3e-3" as a recipe's field and its value; the section may be left out.

    Raises:
        ConfigError: no such section or field, with the nearest, or no value.
    """
    key, equals, value = text.partition("=")
    section, dot, name = key.strip().rpartition(".")
    if not equals:
        raise ConfigError(f"--set must be SECTION.KEY=VALUE, such as optimizer.learning_rate=3e-3, got {text!r}.")
    if dot and section not in SECTIONS:
        raise ConfigError(f"unknown section {section!r} in --set {text}.{near_match(section, SECTIONS)}")
    known = [field for field, home in SECTION_OF_FIELD.items() if section in ("", home)]
    if name not in known:
        raise ConfigError(f"unknown key {name!r} in --set {text}.{near_match(name, known)}")
    return name, _parsed(name, value.strip())


def say_notes(notes: Sequence[str], quiet: bool) -> None:
    """What the reader left out or turned, a line each."""
    for note in () if quiet else notes:
        echo(f"note: {printable(note)}", err=True)


def parsed_source(source: str | None, flags: dict[str, Any]) -> DataConfig:
    """The data that a line names, with how to read it; a source of "" where it names none."""
    return DataConfig(
        source=source or "",
        class_names=_names(flags["class_names"]),
        label_column=flags["label_column"],
        image_size=_size(flags["image_size"]),
        image_fit=flags["image_fit"],
    )


def valid_file(flags: dict[str, Any]) -> str:
    """What --valid names where it is no number: a file of validation samples, taken out of the flags; else ""."""
    text = flags["valid_size"]
    if text == "":
        raise ConfigError("--valid must be a number or a file, got ''.")
    if text is None or isinstance(_number(text), (int, float)):
        return ""
    flags["valid_size"] = None
    return str(text)


def _names(text: str | None) -> tuple[str, ...] | None:
    """ "A,B,C" as names."""
    return None if text is None else tuple(name.strip() for name in text.split(","))


def _size(text: str | None) -> tuple[int, int] | None:
    """ "28x28" or "28" as (height, width).

    Raises:
        ConfigError: anything else.
    """
    if text is None:
        return None
    numbers = text.lower().split("x")
    if len(numbers) > 2 or not all(re.fullmatch("[1-9][0-9]{0,4}", number) for number in numbers):
        raise ConfigError(f"--image-size must be HEIGHTxWIDTH such as 28x28, got {text!r}.")
    return int(numbers[0]), int(numbers[-1])


def _parsed(name: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if name == "hidden":
        return [_number(width) for width in re.split("[x,]", value.strip("[] ").replace(" ", ""))]
    if name == "layers":
        return [_layer(part.strip()) for part in value.split(",")]
    if isinstance(_default(name), bool):
        return {"true": True, "false": False}.get(value.lower(), value)
    parts = [part.strip().strip("\"'") for part in value.strip("[] ").split(",")]
    if len(parts) > 1:
        return [_number(part) for part in parts]
    return _number(parts[0])


def _layer(text: str) -> dict[str, Any]:
    """Return the table of a layer typed as TYPE or TYPE:VALUE, such as dense:512, where VALUE is its first setting."""
    from chalknet.network.layer_types import LAYER_TYPES

    name, _, value = text.partition(":")
    settings = [item.name for item in fields(LAYER_TYPES[name])] if name in LAYER_TYPES else []
    return {"type": name, **({settings[0] if settings else "value": _number(value)} if value else {})}


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _constraint(name: str) -> Constraint:
    """Return what a field of a recipe must be."""
    item = next(item for item in fields(SECTIONS[SECTION_OF_FIELD[name]]) if item.name == name)
    constraint: Constraint = item.metadata["constraint"]
    return constraint


def _default(name: str) -> Any:
    """Return the default of a field."""
    return getattr(SECTIONS[SECTION_OF_FIELD[name]](), name)


def _is_boolean(name: str) -> bool:
    """Return whether a field is true or false."""
    return isinstance(_default(name), bool)


def _type(name: str) -> click.ParamType[str] | None:
    """Return the type of a field's flag, which says what the help shows and a shell completes."""
    # A split by index arrays cannot be given on the command line, so it is not offered.
    names = SPLIT_METHODS if name == "split" else _constraint(name).choices
    return Choice(names) if names else WORDS.get(name)


def _metavar(name: str) -> str | None:
    """Return what stands for the value of a field in the help; None where the type of the flag says it."""
    if isinstance(_type(name), Choice):
        return None
    return METAVARS.get(name) or {int: "N", float: "X", str: "NAME"}[type(_default(name))]


def _help(name: str, recipes: Sequence[str]) -> str:
    """Return what a field means, the names that do not fit the left column, and the values of the recipes."""
    text = next(item for item in fields(SECTIONS[SECTION_OF_FIELD[name]]) if item.name == name).metadata["meaning"]
    names = _type(name)
    if isinstance(names, Choice) and len("|".join(names.choices)) + 2 > MAX_METAVAR:
        text = f"{text}: {', '.join(names.choices)}"
    elif name == "activation":
        text = f"{text}: {', '.join(ACTIVATION_NAMES)}"
    default, *others = (_shown(name, RECIPES[recipe]) for recipe in recipes)
    named = zip(recipes[1:], others, strict=True)
    values = [f"default: {default}", *(f"{recipe}: {value}" for recipe, value in named if value != default)]
    return f"{text[0].upper()}{text[1:]}.  [{'; '.join(values)}]"


def _shown(name: str, recipe: Recipe) -> str:
    """A recipe's value of a field, as it is typed."""
    value = getattr(getattr(recipe, SECTION_OF_FIELD[name]), name)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name == "hidden":
        return "x".join(map(str, value))
    if name == "layers":
        return ",".join(str(layer["type"]) for layer in value) or "none"
    return (
        ",".join(map(str, value))
        if isinstance(value, tuple)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )
