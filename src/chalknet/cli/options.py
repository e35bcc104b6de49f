"""Options that several commands share: a recipe's fields, made from config.py, and how data is read."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import click

from chalknet.cli.output import echo
from chalknet.config import SECTION_OF_FIELD, SECTIONS, DataConfig, Recipe, meaning, near_match
from chalknet.errors import ConfigError
from chalknet.formatting import printable
from chalknet.training.recipes import RECIPES, ROWS_RECIPE

Command = TypeVar("Command", bound=Callable[..., Any])

# Flags that are shorter than their field's name.
FLAG_OF_FIELD = {"train_size": "train", "valid_size": "valid"}


def named_place(text: str) -> str:
    """The name of a file or a folder: the type of an option.

    Raises:
        click.BadParameter: it is empty, as an unset variable of a shell leaves it.
    """
    if not text:
        raise click.BadParameter("it must be the name of a file or a folder, got ''.")
    return text


def named_path(text: str) -> Path:
    """`named_place` as a path."""
    return Path(named_place(text))


def recipe_options(*fields: str) -> Callable[[Command], Command]:
    """One flag for each of the recipe's fields that are named, or for every field; left out, the recipe decides."""
    names = fields or tuple(SECTION_OF_FIELD)

    def decorate(command: Command) -> Command:
        if not fields:
            command = set_option(command)
        for name in reversed(names):
            flag = FLAG_OF_FIELD.get(name, name).replace("_", "-")
            if _is_yes_or_no(name):
                option = click.option(f"--{flag}/--no-{flag}", name, default=None, help=_help(name))
            else:
                option = click.option(f"--{flag}", name, metavar=_metavar(name), help=_help(name))
            command = option(command)
        return command

    return decorate


def set_option(command: Command) -> Command:
    """The flag that sets any field of the recipe."""
    return click.option(
        "--set",
        "assignments",
        multiple=True,
        metavar="SECTION.KEY=VALUE",
        help="Any field of the recipe, such as optimizer.learning_rate=3e-3; may be repeated.",
    )(command)


def data_options(command: Command) -> Command:
    """The flags that say how a source is read."""
    for option in reversed(
        [
            click.option("--class-names", metavar="A,B,C", help="Names of the classes 0, 1, 2, ..."),
            click.option("--label-column", metavar="NAME|N", help="Column of a CSV that holds the labels."),
            click.option("--image-size", metavar="HxW", help="Size of the images in a CSV or a folder."),
            click.option(
                "--image-fit", metavar="NAME", help="Other proportions: stretch, crop or pad.  [default: stretch]"
            ),
        ]
    ):
        command = option(command)
    return command


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
    """The data that a line names, with how to read it; a source of "" where it names none.

    Raises:
        ConfigError: an empty name, as an unset variable of a shell gives it.
    """
    if source == "":
        raise ConfigError("--data must be a file, a folder or glyphs, got ''.")
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


def _default(name: str) -> Any:
    return getattr(SECTIONS[SECTION_OF_FIELD[name]](), name)


def _is_yes_or_no(name: str) -> bool:
    return isinstance(_default(name), bool)


def _metavar(name: str) -> str:
    if name == "hidden":
        return "N[xN...]"
    if name == "activation":
        return "NAME[,NAME...]"
    if name == "layers":
        return "TYPE[:N],..."
    return {int: "N", float: "X", str: "NAME"}[type(_default(name))]


def _help(name: str) -> str:
    text = meaning(name)
    values = {recipe: _shown(name, of) for recipe, of in RECIPES.items() if recipe != ROWS_RECIPE}
    if _is_yes_or_no(name):
        text = text.split(":")[0]
    sentence = f"{text[0].upper()}{text[1:]}."
    if len(set(values.values())) == 1:
        return f"{sentence}  [default: {next(iter(values.values()))}]"
    return f"{sentence}  [{'; '.join(f'{recipe}: {value}' for recipe, value in values.items())}]"


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
