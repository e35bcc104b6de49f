"""A group whose commands are imported only when they are used."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

import click
import cloup
from click.shell_completion import CompletionItem

from chalknet.cli.command import Command, HelpContext, keep_indented_lines
from chalknet.config import near_match

COMMANDS_HEADING = "Commands"


class LazyCommand(NamedTuple):
    """Where a command is defined, and its line in the help of its group.

    Attributes:
        module: name of the module that defines the command.
        attribute: name of the command in that module.
        summary: what the command does, in one sentence.
        section: heading under which the help of the group lists it.
    """

    module: str
    attribute: str
    summary: str
    section: str = COMMANDS_HEADING


class LazyGroup(cloup.Group):
    """A group that knows the names and summaries of its commands without importing them.

    Importing all commands would make `--help` wait for modules that it does not need. A group that
    is called without arguments shows its help.
    """

    command_class: type[click.Command] | None = Command
    context_class: type[cloup.Context] = HelpContext

    def __init__(self, *args: Any, lazy: Mapping[str, LazyCommand], **kwargs: Any) -> None:
        """Create the group.

        Args:
            args: as of `cloup.Group`.
            lazy: commands by name, in the order in which the help lists them.
            kwargs: as of `cloup.Group`.
        """
        super().__init__(*args, **kwargs)
        self._lazy = dict(lazy)
        self.help: str | None = keep_indented_lines(self.help or "")

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments, or show the help if there are none."""
        return super().parse_args(ctx, args if args or ctx.resilient_parsing else ["--help"])

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands in the order of the help."""
        del ctx
        return [*self.commands, *self._lazy]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, imported now if necessary, or None if no command has this name."""
        if cmd_name not in self._lazy:
            return super().get_command(ctx, cmd_name)
        lazy = self._lazy[cmd_name]
        command = getattr(import_module(lazy.module), lazy.attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the arguments name, and the arguments after its name.

        Raises:
            click.UsageError: no command has this name. The message names the nearest one.
        """
        known = self.list_commands(ctx)
        if args and args[0] not in known and not args[0].startswith("-"):
            ctx.fail(f"no such command {args[0]!r}.{near_match(args[0], known)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands in --help, by section."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            section, summary = self._summary(ctx, name)
            sections.setdefault(section, []).append((name, summary))
        assert isinstance(formatter, cloup.HelpFormatter)
        formatter.write_many_sections([cloup.HelpSection(heading, rows) for heading, rows in sections.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[Any]]:
        """Return the commands and options that begin with `incomplete`, without imports."""
        names = [name for name in self.list_commands(ctx) if name.startswith(incomplete)]
        commands = [CompletionItem(name, help=self._summary(ctx, name)[1]) for name in names]
        return [*commands, *click.Command.shell_complete(self, ctx, incomplete)]

    def _summary(self, ctx: click.Context, name: str) -> tuple[str, str]:
        """Return the section and the summary of a command."""
        if name in self._lazy:
            return self._lazy[name].section, self._lazy[name].summary
        command = super().get_command(ctx, name)
        assert command is not None
        return COMMANDS_HEADING, command.get_short_help_str(limit=80)
