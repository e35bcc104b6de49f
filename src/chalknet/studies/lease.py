"""Leases: which processes work on a study, and whether they are still alive."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from uuid import uuid4

HEARTBEAT_SECONDS = 2.0  # between two heartbeats
STALE_SECONDS = 6.0  # without a new heartbeat, after which a process on another machine counts as dead

_held: set[str] = set()  # ids of this process's own leases


@dataclass(frozen=True)
class Lease:
    """The right of a process to claim runs of a study.

    Attributes:
        id: unique, also among the studies of one process.
        host: the machine, its boot and its name space of processes: where pid means something.
        pid: the process's number.
        started: when the process started, in the system's own unit, which tells it apart from a later process with the
            same number; "" if the system does not tell.
    """

    id: str
    host: str
    pid: int
    started: str


def new_lease() -> Lease:
    """Return a lease of this process for one study; call `end_lease` when it is finished."""
    lease = Lease(uuid4().hex, this_host(), os.getpid(), _start_time(os.getpid()) or "")
    _held.add(lease.id)
    return lease


def end_lease(lease: Lease) -> None:
    """End a lease of this process."""
    _held.discard(lease.id)


class LeaseObserver:
    """Judges which holders of leases may be at work: on this host by their processes, elsewhere by their heartbeats.

    Clocks of machines differ. So a heartbeat only has to change, and the time since its last change is measured here.
    """

    def __init__(self) -> None:
        self._seen: dict[str, tuple[float, float]] = {}

    def is_alive(self, lease: Lease, heartbeat: float) -> bool:
        """Return whether the holder of a lease, whose last heartbeat has this value, may be at work."""
        if lease.host != this_host() or os.name != "posix":
            value, since = self._seen.get(lease.id, (None, 0.0))
            if value != heartbeat:
                self._seen[lease.id] = heartbeat, time.monotonic()
                return True
            return time.monotonic() - since <= STALE_SECONDS
        if lease.pid == os.getpid() and lease.started == (_start_time(lease.pid) or ""):
            return lease.id in _held
        return _is_running(lease.pid, lease.started)


@cache
def this_host() -> str:
    """Return a name for the place where process numbers mean something."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        space = Path("/proc/self/ns/pid").readlink().name
    except OSError:  # not Linux
        boot = space = ""
    return f"{platform.node()} {boot} {space}".rstrip()


def _is_running(pid: int, started: str) -> bool:
    now = _start_time(pid)
    if now is not None:
        return now == started
    if Path("/proc/self/stat").exists():
        return False
    try:
        os.kill(pid, 0)  # asks only, on POSIX
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _start_time(pid: int) -> str | None:
    """Return when a process started, in ticks since the boot, or None if it has ended or the system does not tell."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    values = text.rpartition(")")[2].split()  # what stands before is the name, which may hold anything
    return None if len(values) < 20 or values[0] in "ZX" else values[19]
