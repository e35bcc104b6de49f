"""The version of chalknet, and how an extra is installed. Nothing is imported, so any module can import this one."""

__version__ = "0.2.0"


def install_command(extra: str) -> str:
    """Return the command that adds an extra to this installation.

    An installation from a folder, such as a clone, gets the extra from that folder, because no
    package index needs to have chalknet.
    """
    import json
    from importlib.metadata import PackageNotFoundError, distribution
    from pathlib import Path
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    try:
        origin = json.loads(distribution("chalknet").read_text("direct_url.json") or "{}")
    except PackageNotFoundError:
        origin = {}
    source, flag = "chalknet", ""
    if "dir_info" in origin:
        folder = Path(url2pathname(urlsplit(origin["url"]).path))
        if (folder / "pyproject.toml").is_file():
            source = "." if folder == Path.cwd() else str(folder)
            flag = "-e " if origin["dir_info"].get("editable") else ""
    return f'pip install {flag}"{source}[{extra}]"'
