"""Write docs/cli.md from the --help of the commands: `make docs`. `make docs-check` compares the two."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from chalknet.cli.main import cli

HEAD = """# The commands

This is the output of `chalknet COMMAND --help` for every command. `make docs` writes this file.
"""


def pages() -> str:
    """Return one section per command, in the order of the help."""
    sections = [f"## {name}\n\n```\n{text}\n```\n" for name, text in _helps(cli, "chalknet", None)]
    return "\n".join([HEAD, *sections])


def _helps(command: click.Command, name: str, parent: click.Context | None) -> Iterator[tuple[str, str]]:
    context = command.context_class(
        command, info_name=name.split()[-1], parent=parent, terminal_width=100, **command.context_settings
    )
    yield name, command.get_help(context)
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            assert found is not None
            yield from _helps(found, f"{name} {child}", context)


if __name__ == "__main__":
    if "--print" in sys.argv:
        print(pages(), end="")
    else:
        (Path(__file__).resolve().parents[1] / "docs" / "cli.md").write_text(pages(), encoding="utf-8")
