"""Flags, arguments, commands, functions and extras that messages name exist."""

from __future__ import annotations

import ast
import inspect
import re
import tomllib
from functools import cache
from pathlib import Path

import click
import pytest

import chalknet
from chalknet.cli.main import COMMANDS, cli
from chalknet.config import SECTION_OF_FIELD
from chalknet.errors import ConfigError
from chalknet.formatting import ARGUMENT_AND_FLAG, flags_in_messages, for_reader
from chalknet.studies.spec import SEARCH_FIELDS, STUDY_FIELDS

SOURCE = Path(chalknet.__file__).parent
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*\b(?!-?\{)")
BESIDE_A_FLAG = re.compile(r"\b([a-z]+(?:_[a-z]+)+|[a-z]+(?==))(?:=\S+)? \(--")
COMMAND = re.compile(r"(?:`|: |see |Use |and )chalknet ([a-z]+)|\bchalknet ([a-z]+) --")
OF_A_COMMAND = re.compile(r"`chalknet [^`]*`")
OTHER_ARGUMENTS = {"size", "pinned", "compare", "shards"}  # of functions that are not among the public names
FLAGS_OF_OTHERS = {"--head", "--logdir", "--backend-store-uri"}  # of ray, tensorboard and mlflow


@cache
def texts() -> tuple[tuple[str, str], ...]:
    """Return file and text of every string in the source but docstrings, with "{}" for inserted values."""
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        tree = ast.parse(path.read_text())
        skipped = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                skipped.update(node.values)
                parts = (part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
                found.append((path.relative_to(SOURCE).as_posix(), "".join(map(str, parts))))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in skipped:
                found.append((path.relative_to(SOURCE).as_posix(), node.value))
    return tuple(found)


@cache
def commands() -> tuple[click.Command, ...]:
    """Return all commands and groups."""
    found: list[click.Command] = []

    def visit(command: click.Command) -> None:
        found.append(command)
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                visit(command.get_command(context, name))

    visit(cli)
    return tuple(found)


@cache
def parameters() -> dict[str, set[str]]:
    """Return the parameters of each flag, over all commands."""
    found: dict[str, set[str]] = {"--help": set()}
    for command in commands():
        for parameter in command.params:
            for flag in (*parameter.opts, *parameter.secondary_opts):
                found.setdefault(flag, set()).add(parameter.name or "")
    return found


@cache
def arguments() -> set[str]:
    """Return the arguments and settings of all public functions."""
    functions = filter(inspect.isfunction, (getattr(chalknet, name) for name in chalknet.__all__))
    named = {name for function in functions for name in inspect.signature(function).parameters}
    return named | set(SECTION_OF_FIELD) | set(STUDY_FIELDS) | set(SEARCH_FIELDS)


def test_every_flag_in_a_message_exists():
    known = parameters().keys() | FLAGS_OF_OTHERS
    assert not [(file, text) for file, text in texts() if not known.issuperset(FLAG.findall(text))]


def test_messages_of_functions_name_arguments_beside_flags():
    """A message that Python users can see too names the argument, unless it is a line to type into a shell."""
    lacking = []
    for file, text in texts():
        flags = FLAG.findall(text)
        if file.startswith("cli/") or flags == [text] or COMMAND.search(text):
            continue
        asked = [parameters().get(flag, set()) & arguments() for flag in flags]
        words = set(re.findall(r"[a-z0-9_]+", FLAG.sub("", text)))
        if all(asked) and not all(names & words for names in asked):  # a flag without an argument: no Python user
            lacking.append((file, text))
    assert not lacking


def test_every_argument_beside_a_flag_exists():
    named = {name: text for _, text in texts() for name in BESIDE_A_FLAG.findall(text)}
    assert len(named) > 10
    assert not {name: text for name, text in named.items() if name not in arguments()}


def test_a_message_names_a_flag_in_a_shell_and_an_argument_in_python():
    """Every message with both, whatever is inserted for its values."""
    pairs = [
        (file, re.sub(r"\{\}", "x", text))
        for file, text in texts()
        if "(--" in text or "(-o " in text or " (chalknet " in text
        if not file.startswith("cli/") and "{}" + " (--{}" not in text
    ]
    assert len(pairs) > 90
    for place in pairs:
        in_python = for_reader(place[1])
        with flags_in_messages():
            in_a_shell = for_reader(place[1])
        assert "(--" not in in_python + in_a_shell, place
        assert len(FLAG.findall(in_a_shell)) == len(FLAG.findall(place[1])), place
        assert not (FLAG.findall(in_python) and not COMMAND.search(in_python)), place
        for match in ARGUMENT_AND_FLAG.finditer(place[1]):
            name = match["argument"].split("=")[0]
            assert name.startswith("chalknet.") or name in arguments() | OTHER_ARGUMENTS, place
    assert not [(file, text) for file, text in texts() if "(in Python:" in text]


@pytest.mark.parametrize(
    ("message", "argument", "flag"),
    [
        ("give overwrite=True (--overwrite).", "give overwrite=True.", "give --overwrite."),
        ("jobs (--jobs) must be 1", "jobs must be 1", "--jobs must be 1"),
        ("use a=['x y'] (--a 'x y'), or b=(1, 2) (--b 1x2)", "use a=['x y'], or b=(1, 2)", "use --a 'x y', or --b 1x2"),
        (
            "with: chalknet.resume('my run') (chalknet train --resume 'my run').",
            "with: chalknet.resume('my run').",
            "with: chalknet train --resume 'my run'.",
        ),
        ("column 'size (cm)' (see --help), a (b) and f(x)",) * 3,
    ],
)
def test_errors_name_what_their_reader_can_give(message, argument, flag):
    error = ConfigError(message)
    assert str(error) == argument
    with flags_in_messages():
        assert str(error) == flag
    assert str(error) == argument
    assert error.message == message


def test_every_command_and_function_in_a_message_exists():
    named = {one or other for _, text in texts() for one, other in COMMAND.findall(text)}
    assert "train" in named
    assert named <= COMMANDS.keys()
    functions = {name for _, text in texts() for name in re.findall(r"\bchalknet\.([a-z_]+)\(", text)}
    assert "resume" in functions
    assert functions <= set(chalknet.__all__)


def test_every_extra_in_a_message_exists():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    extras = {
        name for path in SOURCE.rglob("*.py") for name in re.findall(r"install_command\(['\"](\w+)", path.read_text())
    }
    assert "onnx" in extras
    assert extras <= project["optional-dependencies"].keys()


def test_help_texts_of_options_name_flags_of_the_same_command():
    lacking = []
    for command in commands():
        own = {"--help"}.union(*((*parameter.opts, *parameter.secondary_opts) for parameter in command.params))
        for parameter in command.params:
            named = set(FLAG.findall(OF_A_COMMAND.sub("", getattr(parameter, "help", None) or "")))
            lacking += [(command.name, parameter.name, flag) for flag in named - own]
    assert not lacking
