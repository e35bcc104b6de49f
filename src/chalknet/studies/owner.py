"""Who works on a study: processes, told apart from those that took their number later, and found dead when they are."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from uuid import uuid4

STALE_SECONDS = 60.0  # without a sign of life, after which a process on another machine counts as dead
BEAT_SECONDS = 10.0  # between two signs of life

_at_work: set[str] = set()  # ids of this process's own owners


@dataclass(frozen=True)
class Owner:
    """A process that works on a study.

    Attributes:
        id: its own, also among the studies of one process.
        host: the machine, its boot and its name space of processes: where pid means something.
        pid: the process's number. started: when it began, in the system's own unit; "" where the system does not tell.
    """

    id: str
    host: str
    pid: int
    started: str


def new_owner() -> Owner:
    """This process, for one study; `retire` when it is through."""
    owner = Owner(uuid4().hex, this_host(), os.getpid(), _start_time(os.getpid()) or "")
    _at_work.add(owner.id)
    return owner


def retire(owner: Owner) -> None:
    """An owner of this process works no more."""
    _at_work.discard(owner.id)


def is_alive(owner: Owner, seconds_since_beat: float) -> bool:
    """Whether an owner may still be at work: on this host by its process, elsewhere by its last sign of life."""
    if owner.host != this_host() or os.name != "posix":
        return seconds_since_beat <= STALE_SECONDS
    if owner.pid == os.getpid() and owner.started == (_start_time(owner.pid) or ""):
        return owner.id in _at_work
    return _runs(owner.pid, owner.started)


@cache
def this_host() -> str:
    """A name for the place where process numbers mean something."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        space = Path("/proc/self/ns/pid").readlink().name
    except OSError:  # not Linux
        boot = space = ""
    return f"{platform.node()} {boot} {space}".rstrip()


def _runs(pid: int, started: str) -> bool:
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
    """When a process began, in ticks since the boot; None where there is none, it has ended, or it cannot be told."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    values = text.rpartition(")")[2].split()  # what stands before is the name, which may hold anything
    return None if len(values) < 20 or values[0] in "ZX" else values[19]
