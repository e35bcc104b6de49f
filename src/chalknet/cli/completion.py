"""`chalknet completion`."""

from __future__ import annotations

import click
import cloup
from click.shell_completion import get_completion_class

from chalknet.cli.output import echo

SHELLS = ("bash", "zsh", "fish")


@cloup.command()
@cloup.argument("shell", type=click.Choice(SHELLS), help="Your shell.")
def completion(shell: str) -> None:
    """Print the script for completion in bash, zsh or fish.

    It completes commands, options, and the values of options that take one of a few names. To install it, run the line
    of your shell once and open a new terminal. In zsh, compinit must be loaded before.

    \b
    bash:  chalknet completion bash >> ~/.bashrc
    zsh:   chalknet completion zsh >> ~/.zshrc
    fish:  chalknet completion fish > ~/.config/fish/completions/chalknet.fish
    """
    root = click.get_current_context().find_root().command
    script = get_completion_class(shell)
    assert script is not None
    echo(script(root, {}, "chalknet", "_CHALKNET_COMPLETE").source(), nl=False)
