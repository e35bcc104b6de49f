"""Who may use a server: names in the Host header, the token, and origins of other pages."""

from __future__ import annotations

import hmac
import ipaddress
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from chalknet.errors import ConfigError
from chalknet.files import read_bytes, reading

TOKEN_VARIABLE = "CHALKNET_TOKEN"
MAX_TOKEN_BYTES = 4_096
SHORT_TOKEN = 16  # characters; a shorter token can be guessed
MAKE_TOKEN = 'python -c "import secrets; print(secrets.token_urlsafe())"'


@dataclass(frozen=True)
class Access:
    """Who may use a server.

    Attributes:
        host: the name or address that the server listens on.
        token: what requests must send as `Authorization: Bearer TOKEN`, or None if none is needed.
        host_names: further names, in lower case, that requests may have in their Host header.
        cors_origins: origins such as "https://example.org" whose pages may read the answers.
        notes: what is unusual about these settings, one sentence each.
    """

    host: str = "127.0.0.1"
    token: str | None = field(default=None, repr=False)
    host_names: frozenset[str] = frozenset()
    cors_origins: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()

    def accepts_token(self, authorization: str) -> bool:
        """Return whether an Authorization header has the token; the time does not depend on where they differ."""
        if self.token is None:
            return True
        scheme, _, given = authorization.partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self.token.encode())

    def accepts_host(self, host: str) -> bool:
        """Return whether a Host header, with or without a port, names this server.

        A page of another site can make its own name point to this machine (DNS rebinding) and then ask
        the server as if it were its own. The Host header still has the name of the site. So only known
        names are accepted; addresses are no names, and cannot be made to point elsewhere.
        """
        name = host_name(host)
        if name in self.host_names or name == self.host.lower():
            return True
        address = _address(name)
        return name == "localhost" if address is None else address.is_loopback or not is_loopback(self.host)

    def accepts_origin(self, origin: str) -> bool:
        """Return whether a page of this origin, such as "http://127.0.0.1:8000", may send data."""
        if origin in self.cors_origins:
            return True
        scheme, mark, host = origin.partition("://")
        return scheme in ("http", "https") and bool(mark) and self.accepts_host(host)


def resolve_access(
    host: str = "127.0.0.1",
    *,
    token_file: str | Path | None = None,
    host_names: Sequence[str] = (),
    cors_origins: Sequence[str] = (),
) -> Access:
    """Return who may use a server, after checking the settings.

    Args:
        host: the name or address to listen on.
        token_file: a file with the token; None for the environment variable CHALKNET_TOKEN, if it is set.
        host_names: further names that requests may have in their Host header.
        cors_origins: origins whose pages may read the answers.

    Raises:
        ConfigError: another machine could reach the server and there is no token; or a setting is invalid.
        DataError: the file with the token cannot be read.
    """
    if not host:
        raise ConfigError("host (--host) must be a name or an address such as 127.0.0.1, got ''.")
    token, notes = _token(token_file)
    if token is None and not is_loopback(host):
        raise ConfigError(
            f"host (--host) {host} can be reached from other machines, so a token is needed. Give a file that holds "
            f"one as token_file (--token-file), or set {TOKEN_VARIABLE}. To make one: {MAKE_TOKEN}"
        )
    names = frozenset(map(_checked_name, host_names))
    if not is_loopback(host):
        names |= {socket.gethostname().lower()}
    return Access(host, token, names, frozenset(map(_checked_origin, cors_origins)), tuple(notes))


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a server on this host."""
    address = _address(host.lower())
    return host.lower() == "localhost" if address is None else address.is_loopback


def _token(token_file: str | Path | None) -> tuple[str | None, list[str]]:
    """Return the token, or None if there is none; and notes."""
    if token_file is None:
        where, text = TOKEN_VARIABLE, os.environ.get(TOKEN_VARIABLE)
        if text is None:
            return None, []
        if not text.strip():
            raise ConfigError(
                f"{where} is set, but empty. Unset it for a server without a token. To make a token: {MAKE_TOKEN}"
            )
    else:
        where = str(token_file)
        with reading(where):
            text = read_bytes(token_file, MAX_TOKEN_BYTES).decode()
    token = text.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError(
            f"{where}: the token must be one word of ASCII characters, got {'none' if not token else 'others'}. To "
            f"make one: {MAKE_TOKEN}"
        )
    notes = []
    if len(token) < SHORT_TOKEN:
        notes.append(
            f"The token of {where} has {len(token)} characters, which can be guessed. {SHORT_TOKEN} or more are safe."
        )
    if token_file is not None and os.name == "posix" and Path(token_file).stat().st_mode & 0o077:
        notes.append(f"Other users of this machine can read the token in {where}. To prevent it: chmod 600 {where}")
    return token, notes


def _checked_name(name: str) -> str:
    if not name or any(mark in name for mark in "/:@ *"):
        raise ConfigError(f"allow_hosts (--allow-host) must be names such as models.example.org, got {name!r}.")
    return name.lower()


def _checked_origin(origin: str) -> str:
    parts = urlsplit(origin)
    if parts.scheme not in ("http", "https") or not parts.netloc or origin != f"{parts.scheme}://{parts.netloc}":
        raise ConfigError(
            f"cors_origins (--cors-origin) must be origins such as https://example.org, without a path, got {origin!r}."
        )
    return origin.lower()


def host_name(host: str) -> str:
    """Return the name in a Host header, in lower case, without port and brackets; "" if it is malformed."""
    if host.startswith("["):
        name, bracket, port = host[1:].partition("]")
        return name.lower() if bracket and (not port or (port[0] == ":" and port[1:].isdecimal())) else ""
    name, colon, port = host.partition(":")
    return name.lower().removesuffix(".") if not colon or port.isdecimal() else ""


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return a name as an address, or None if it is not one."""
    try:
        return ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return None
