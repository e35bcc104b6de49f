"""`chalknet study watch`."""

from __future__ import annotations

import sys
import webbrowser
from collections.abc import Sequence
from pathlib import Path

import cloup

from chalknet.cli.command import command
from chalknet.cli.options import print_notes
from chalknet.cli.output import echo
from chalknet.cli.parameters import FILE, FOLDER
from chalknet.cli.watch_page import parse_port


@command()
@cloup.argument(
    "folder",
    type=FOLDER,
    metavar="FOLDER",
    help="Folder of a study or of a training, running, finished or not started yet.",
)
@cloup.option(
    "--host",
    metavar="NAME",
    default="127.0.0.1",
    help="Name or address to listen on. With any other than the default, other machines can reach the page, and a "
    "token is required.  [default: 127.0.0.1]",
)
@cloup.option("--port", metavar="N", help="Port; 0 for a free one.  [default: 8001, or a free one]")
@cloup.option(
    "--token-file",
    type=FILE,
    metavar="FILE",
    help="File with the token that the page asks for.  [default: the environment variable CHALKNET_TOKEN, if set]",
)
@cloup.option(
    "--allow-host",
    "allow_hosts",
    metavar="NAME",
    multiple=True,
    help="Further host name that may appear in the browser's address bar. Can be repeated.",
)
@cloup.option("--open", "open_browser", is_flag=True, help="Open the page in the browser of this machine.")
def watch(
    folder: str,
    host: str,
    port: str | None,
    token_file: str | None,
    allow_hosts: tuple[str, ...],
    open_browser: bool,
) -> None:
    """Follow a study or a training in the browser.

    The page refreshes by itself. It shows the runs that are done, running, failed and waiting, the
    time left, learning curves as they grow, the configurations by accuracy with intervals, and the
    findings so far. It only reads the folder, so it never disturbs the study. Several browsers can
    show it. Ctrl-C ends it.

    If the folder does not exist yet, the page waits for the study. A finished or an interrupted
    study is shown too. Needs the extra serve.

    Examples:
        chalknet study watch runs/widths
        chalknet study watch runs/first --port 0 --open
    """
    from chalknet.workflows.watch import watch as serve_page

    place = Path(folder)

    def on_start(address: str, notes: Sequence[str]) -> None:
        print_notes(notes, quiet=False)
        echo(f"watch: {address}   (Ctrl-C ends it)")
        if not place.exists():
            echo(f"note: {place} does not exist yet. The page waits for a study or a training in it.", err=True)
        sys.stdout.flush()
        if open_browser:
            webbrowser.open(address)

    serve_page(
        place,
        host=host,
        port=parse_port(port),
        token_file=token_file,
        allow_hosts=allow_hosts,
        on_start=on_start,
    )
