"""Options that several commands share, and what turns their text into settings.

The options for the fields of a recipe are made from `chalknet.config`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
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

# Flags that are shorter than the name of their field.
FLAG_OF_FIELD = {"train_size": "train", "valid_size": "valid"}
# Placeholders in the help, for fields that take more than a number or a name.
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
# Words that a shell completes, for fields that also take other values.
WORDS = {
    "activation": Words(ACTIVATION_NAMES, is_list=True),
    "class_weights": Words(CLASS_WEIGHTS),
    "batch_size": Words((FULL,)),
    "batch_seed": Words((SAME_AS_SEED,)),
}
# Fields of [training] that concern the machine. They stand in a section of their own.
MACHINE_FIELDS = ("engine", "device", "precision", "dtype", "tile_rows")
IMAGE_FITS = ("stretch", "crop", "pad")


def recipe_options(
    *names: str, recipes: Sequence[str] = (DEFAULT_RECIPE, "writeup"), hidden: Collection[str] = ()
) -> Decorator:
    """Return a decorator that adds a flag for each of the named fields of a recipe.

    Args:
        names: fields of a recipe.
        recipes: names of recipes whose values the help shows. The first one is the recipe from
            which the command starts.
        hidden: fields that the help leaves out, because the command refuses every value but the
            default. Their flags exist, so that the refusal says what to do instead.
    """

    def decorate(command: Command) -> Command:
        for name in reversed(names):
            flag = FLAG_OF_FIELD.get(name, name).replace("_", "-")
            text = _help(name, recipes)
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


def recipe_groups(hidden: Collection[str] = ()) -> Decorator:
    """Return a decorator that adds flags for all fields but [split] and `MACHINE_FIELDS`, by section.

    Args:
        hidden: as in `recipe_options`.
    """
    groups = [
        cloup.option_group(title, recipe_options(*section_fields(section), hidden=hidden))
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
    """Return a decorator that adds --data, which names the samples."""
    return cloup.option("--data", type=DATA_SOURCE, metavar="FILE|FOLDER|glyphs", help=text)


def data_options(command: Command) -> Command:
    """Add the flags that say how data are read."""
    for option in reversed(
        [
            cloup.option("--class-names", metavar="A,B,C", help="Names of the classes 0, 1, 2, ..."),
            cloup.option("--label-column", metavar="NAME|N", help="Name or number of the CSV column with the labels."),
            cloup.option("--image-size", metavar="HxW", help="Height and width of the images in a CSV or a folder."),
            cloup.option(
                "--image-fit",
                type=Choice(IMAGE_FITS),
                help="How to resize images with another aspect ratio.  [default: stretch]",
            ),
        ]
    ):
        command = option(command)
    return command


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
        ("--date", "TEXT", "Date below the title, as you type it.  [default: none]"),
        ("--author", "TEXT", "Author below the title.  [default: none]"),
        ("--title", "TEXT", "Title of the document.  [default: a title by its content]"),
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
        raise ConfigError(f"--set must be SECTION.KEY=VALUE, such as optimizer.learning_rate=3e-3, got {text!r}.")
    if dot and section not in SECTIONS:
        raise ConfigError(f"unknown section {section!r} in --set {text}.{near_match(section, SECTIONS)}")
    known = [field for field, home in SECTION_OF_FIELD.items() if section in ("", home)]
    if name not in known:
        raise ConfigError(f"unknown key {name!r} in --set {text}.{near_match(name, known)}")
    return name, _parse_value(name, value.strip())


def print_notes(notes: Sequence[str], quiet: bool) -> None:
    """Print notes, such as how data were read, to standard error unless quiet."""
    for note in () if quiet else notes:
        echo(f"note: {printable(note)}", err=True)


def parse_source(source: str | None, flags: dict[str, Any]) -> DataConfig:
    """Return the data that the user named and how to read them.

    Args:
        source: the value of --data, or None.
        flags: the values of the options of `data_options`, by parameter name.
    """
    return DataConfig(
        source=source or "",
        class_names=_parse_names(flags["class_names"]),
        label_column=flags["label_column"],
        image_size=_parse_size(flags["image_size"]),
        image_fit=flags["image_fit"],
    )


def take_valid_file(flags: dict[str, Any]) -> str:
    """Return the file that --valid names and remove it from the flags.

    If --valid is a number or left out, the result is "".
    """
    text = flags["valid_size"]
    if text == "":
        raise ConfigError("--valid must be a number or a file, got ''.")
    if text is None or isinstance(_number_or_text(text), (int, float)):
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
        return [_number_or_text(width) for width in re.split("[x,]", value.strip("[] ").replace(" ", ""))]
    if name == "layers":
        return [_parse_layer(part.strip()) for part in value.split(",")]
    if isinstance(_default(name), bool):
        return {"true": True, "false": False}.get(value.lower(), value)
    parts = [part.strip().strip("\"'") for part in value.strip("[] ").split(",")]
    if len(parts) > 1:
        return [_number_or_text(part) for part in parts]
    return _number_or_text(parts[0])


def _parse_layer(text: str) -> dict[str, Any]:
    """Return the table of a layer from TYPE or TYPE:VALUE, such as dense:512.

    VALUE is the first setting of this type of layer.
    """
    from chalknet.network.layer_types import LAYER_TYPES

    name, _, value = text.partition(":")
    settings = [item.name for item in fields(LAYER_TYPES[name])] if name in LAYER_TYPES else []
    return {"type": name, **({settings[0] if settings else "value": _number_or_text(value)} if value else {})}


def _number_or_text(text: str) -> int | float | str:
    """Return a number if the text is one, else the text."""
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
    """Return the type of the flag of a field, or None for plain text."""
    # A split by index arrays cannot be given on the command line, so it is not offered.
    names = SPLIT_METHODS if name == "split" else _constraint(name).choices
    return Choice(names) if names else WORDS.get(name)


def _metavar(name: str) -> str | None:
    """Return the placeholder for the value of a field in the help, or None if its type has one."""
    if isinstance(_type(name), Choice):
        return None
    return METAVARS.get(name) or {int: "N", float: "X", str: "NAME"}[type(_default(name))]


def _help(name: str, recipes: Sequence[str]) -> str:
    """Return the help of a field: its meaning, long lists of choices, and its defaults."""
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
    """Return the value of a field in a recipe, as a user types it."""
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
