"""`chalknet serve`."""

from __future__ import annotations

import logging
import sys

import cloup

from chalknet.cli.command import command
from chalknet.cli.output import echo
from chalknet.cli.parameters import COUNT, FILE


@command()
@cloup.argument(
    "models",
    type=FILE,
    metavar="MODEL...",
    nargs=-1,
    required=True,
    help="Model files or folders of runs. NAME=PATH names the model; the default is the name of the folder or file.",
)
@cloup.option_group(
    "Address",
    cloup.option(
        "--host",
        metavar="HOST",
        default="127.0.0.1",
        help="Name or address to listen on. Any address other than 127.0.0.1 needs a token.  [default: 127.0.0.1]",
    ),
    cloup.option("--port", type=int, metavar="PORT", default=8000, help="Port; 0 for a free one.  [default: 8000]"),
)
@cloup.option_group(
    "Access",
    cloup.option(
        "--token-file",
        type=FILE,
        metavar="FILE",
        help="File with the token that requests must have.  [default: CHALKNET_TOKEN, if it is set]",
    ),
    cloup.option(
        "--allow-host",
        "allow_hosts",
        metavar="NAME",
        multiple=True,
        help="Additional host name to accept. Can be repeated.",
    ),
    cloup.option(
        "--cors-origin",
        "cors_origins",
        metavar="ORIGIN",
        multiple=True,
        help="Website whose pages may send requests, such as https://example.org. Can be repeated.  [default: none]",
    ),
)
@cloup.option_group(
    "Limits of a request",
    cloup.option("--max-body", type=COUNT, metavar="MIB", default=32, help="Size in MiB.  [default: 32]"),
    cloup.option("--max-rows", type=COUNT, metavar="N", default=10_000, help="Rows or images.  [default: 10000]"),
    cloup.option(
        "--max-pixels", type=COUNT, metavar="N", default=2**25, help="Pixels of an image.  [default: 33554432]"
    ),
    cloup.option("--max-seconds", type=COUNT, metavar="N", default=30, help="Seconds until the answer.  [default: 30]"),
)
def serve(
    models: tuple[str, ...],
    host: str,
    port: int,
    token_file: str | None,
    allow_hosts: tuple[str, ...],
    cors_origins: tuple[str, ...],
    max_body: int,
    max_rows: int,
    max_pixels: int,
    max_seconds: int,
) -> None:
    """Answer predictions over HTTP, with a page for uploads.

    Open the printed address in a browser to upload images or tables. Programs send rows as JSON, CSV
    tables or images. The address /docs describes all requests.

    A model is loaded again when its file changes. Ctrl-C stops the server after it has answered the
    requests that have begun. The extra "serve" must be installed: pip install "chalknet[serve]",
    or ".[serve]" in a clone.

    Examples:
        chalknet serve runs/first
        chalknet serve letters=runs/first iris=runs/iris --port 9000
        curl -F files=@letter.png localhost:8000/v1/models/first/predict
    """
    from chalknet.workflows.serve import ServerFacts
    from chalknet.workflows.serve import serve as run_server

    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", force=False
    )

    def show(facts: ServerFacts) -> None:
        for note in facts.notes:
            echo(f"note: {note}", err=True)
        echo(f"chalknet serves at {facts.address}")
        for line in facts.models:
            echo(f"  {line}")
        if facts.needs_token:
            echo("Requests need the token: Authorization: Bearer TOKEN")
        echo("Stop with Ctrl-C.")
        sys.stdout.flush()

    run_server(
        models,
        host=host,
        port=port,
        token_file=token_file,
        allow_hosts=allow_hosts,
        cors_origins=cors_origins,
        max_body=max_body,
        max_rows=max_rows,
        max_pixels=max_pixels,
        max_seconds=max_seconds,
        on_start=show,
    )
