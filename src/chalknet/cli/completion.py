"""`chalknet completion`."""

from __future__ import annotations

import click
import cloup
from click.shell_completion import get_completion_class

from chalknet.cli.command import command
from chalknet.cli.output import echo

SHELLS = ("bash", "zsh", "fish")


@command()
@cloup.argument("shell", type=click.Choice(SHELLS), help="Your shell.")
def completion(shell: str) -> None:
    """Print a shell-completion script for bash, zsh or fish.

    The script completes commands, options, file names, and the values of options that take one of a
    fixed set of names. To install it, run the line for your shell once and open a new terminal. For
    zsh, the script must come after the line with compinit in ~/.zshrc.

    Installation:
        bash:  chalknet completion bash >> ~/.bashrc
        zsh:   chalknet completion zsh >> ~/.zshrc
        fish:  mkdir -p ~/.config/fish/completions
               chalknet completion fish > ~/.config/fish/completions/chalknet.fish
    """
    root = click.get_current_context().find_root().command
    script = get_completion_class(shell)
    assert script is not None
    echo(script(root, {}, "chalknet", "_CHALKNET_COMPLETE").source(), nl=False)
