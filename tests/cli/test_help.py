"""Help of the commands, shell completion, and the conventions that all commands share."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import click
import pytest

from chalknet.cli.main import COMMANDS, cli, main
from chalknet.config import ENGINES, SECTION_OF_FIELD
from chalknet.training.recipes import RECIPES


def all_commands(command=cli, name="chalknet"):
    """Return every command and group with its full name."""
    found = [(name, command)]
    if isinstance(command, click.Group):
        context = click.Context(command)
        for child in command.list_commands(context):
            found += all_commands(command.get_command(context, child), f"{name} {child}")
    return found


def help_of(capsys, line):
    assert main([*line.split(), "--help"]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("line", ["", "data", "study", "--debug"])
def test_a_group_without_a_command_prints_its_help(capsys, line):
    assert main(line.split()) == 0
    printed = capsys.readouterr()
    assert printed.out == help_of(capsys, line.replace("--debug", ""))
    assert printed.err == ""


def test_the_help_lists_all_commands_by_task(capsys):
    lines = help_of(capsys, "").splitlines()
    headings = ["Train and predict:", "Study:", "Data:", "Teach:", "Machine:"]
    assert [line for line in lines if line in headings] == headings
    listed = [line.split()[0] for line in lines[lines.index(headings[0]) :] if line.startswith("  ")]
    assert listed == list(COMMANDS)


@pytest.mark.parametrize("command", ["train", "study"])
def test_options_stand_in_sections_with_the_most_important_first(capsys, command):
    lines = help_of(capsys, command).splitlines()
    headings = [line.rstrip(":") for line in lines if line.endswith(":") and not line.startswith(" ")]
    sections = ["Start here", "Data", "Network", "Regularization", "Augmentation", "Optimizer"]
    sections += ["Learning-rate schedule", "Training", "Early stopping", "Output", "Machines"]
    assert [heading for heading in headings if heading in sections] == sections
    start = [line.split()[0] for line in lines[lines.index("Start here:") :] if line.startswith("  -")]
    assert start[0] in ("--data", "--vary")


@pytest.mark.parametrize("command", ["train", "study"])
def test_every_field_of_a_recipe_has_an_option(command):
    options = {parameter.name for parameter in dict(all_commands())[f"chalknet {command}"].params}
    assert options >= SECTION_OF_FIELD.keys()


def test_every_option_and_argument_is_explained_in_a_sentence():
    texts = {
        (name, parameter.name): (parameter.help or "").partition("  [")[0]
        for name, command in all_commands()
        for parameter in command.params
    }
    assert len(texts) > 200
    assert not [place for place, text in texts.items() if not text or not text.endswith(".") or len(text) > 200]


def test_every_command_says_what_it_does_in_its_first_line():
    lines = {name: (command.help or "").splitlines()[0] for name, command in all_commands()}
    assert not [name for name, line in lines.items() if not line.endswith(".") or len(line) > 80]


def test_the_summary_of_a_command_is_its_first_line():
    for name, lazy in COMMANDS.items():
        assert dict(all_commands())[f"chalknet {name}"].help.splitlines()[0] == lazy.summary


@pytest.mark.parametrize("columns", [80, 100])
def test_no_line_of_any_help_is_wider_than_the_terminal(capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    for name, _ in all_commands():
        lines = help_of(capsys, name.removeprefix("chalknet")).splitlines()
        assert not [line for line in lines if len(line) > columns], name


def test_help_breaks_no_words_and_no_short_defaults(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for name, _ in all_commands():
        lines = help_of(capsys, name.removeprefix("chalknet")).splitlines()
        assert not [line for line in lines if line.endswith(("-", "default:", " writeup:"))], name


def test_the_help_names_the_defaults_for_table_rows(capsys):
    assert "[default: a convolutional network; tables: 128x128; with --recipe writeup: 1000]" in " ".join(
        help_of(capsys, "train").split()
    )


def test_outputs_have_one_name_in_all_commands():
    flags = {
        name: [flag for parameter in command.params for flag in parameter.opts] for name, command in all_commands()
    }
    assert not [name for name, of in flags.items() if "--output" in of or ("-o" in of) != ("--out" in of)]
    assert sum("--out" in of for of in flags.values()) == 13


def test_named_values_are_shown_as_choices(capsys):
    text = help_of(capsys, "train")
    assert f"Names: {', '.join(RECIPES)}." in " ".join(text.split())  # too many for the line of the flag
    assert f"--engine [{'|'.join(ENGINES)}]" in text


def completed(monkeypatch, capsys, words):
    """Return what a shell offers for the last word of a line."""
    for name, value in {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("_CHALKNET_COMPLETE", "bash_complete")
    with pytest.raises(SystemExit):
        main([])
    return capsys.readouterr().out.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("chalknet st", ["plain,study", "plain,stopping"]),
        ("chalknet data in", ["plain,info"]),
        ("chalknet train --recipe s", ["plain,strong", "plain,strong-dense", "plain,strong-rows"]),
        ("chalknet train --engine to", ["plain,torch"]),
        ("chalknet train --activation relu,ta", ["plain,relu,tanh"]),
        ("chalknet train --batch-size f", ["plain,full"]),
        ("chalknet train --data gl", ["plain,glyphs"]),
        ("chalknet train --data let", ["file,let"]),
        ("chalknet train --out r", ["dir,r"]),
        ("chalknet study --search t", ["plain,tpe"]),
        ("chalknet stopping run --monitor valid_l", ["plain,valid_loss"]),
        ("chalknet predict run --image-fit c", ["plain,crop"]),
    ],
)
def test_a_shell_completes_commands_names_and_files(monkeypatch, capsys, words, offered):
    assert completed(monkeypatch, capsys, words) == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_calls_chalknet(capsys, shell):
    assert main(["completion", shell]) == 0
    assert f"_CHALKNET_COMPLETE={shell}_complete" in capsys.readouterr().out


def test_the_completion_script_works_in_bash(tmp_path):
    if shutil.which("bash") is None:
        pytest.skip("there is no bash on this machine")
    program = tmp_path / "chalknet"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m chalknet "$@"\n')
    program.chmod(0o755)
    lines = [
        "source <(chalknet completion bash) || exit 1",
        "COMP_WORDS=(chalknet train --engine to) COMP_CWORD=3",
        "_chalknet_completion chalknet to --engine",
        'echo "${COMPREPLY[@]}"',
    ]
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", "\n".join(lines)], env={**os.environ, "PATH": path}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "torch\n"


def test_an_unknown_shell_is_one_line_and_code_2(capsys):
    assert main(["completion", "tcsh"]) == 2
    assert "'tcsh' is not one of 'bash', 'zsh', 'fish'" in capsys.readouterr().err
