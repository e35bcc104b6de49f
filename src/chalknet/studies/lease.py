"""Leases: which processes work on a study, and whether they are still alive."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from uuid import uuid4

HEARTBEAT_SECONDS = 2.0  # time between two heartbeats
# A process in another container or on another machine counts as dead after this time without a new
# heartbeat.
STALE_SECONDS = 6.0
# A reader cannot wait for a heartbeat. It counts a process elsewhere as dead if its last heartbeat is
# older than this by the clock.
ABANDONED_SECONDS = 60.0

# Ids of the leases that this process holds. After a process has ended one study and started another,
# its process number alone would say that its old lease is still held.
_held: set[str] = set()


@dataclass(frozen=True)
class Lease:
    """The right of a process to claim runs of a study.

    Attributes:
        id: unique, also among the leases of one process.
        host: the machine, its boot and its process namespace: where pid is meaningful.
        pid: the process number.
        started: when the process started, in clock ticks of the system. It distinguishes the
            process from a later one with the same number; "" if the system does not say.
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
    """Decides whether the holder of a lease is alive.

    On this host it looks at the process. On another host it looks at heartbeats. It counts the time
    since it saw the heartbeat change and does not compare the heartbeat with the clock, because the
    clocks of machines differ.
    """

    def __init__(self) -> None:
        """Create an observer that has seen no heartbeat yet."""
        self._seen: dict[str, tuple[float, float]] = {}

    def is_alive(self, lease: Lease, heartbeat: float) -> bool:
        """Return whether the holder of a lease may still be alive, given its last heartbeat.

        A lease of another host counts as alive when it is seen for the first time.
        """
        if not _is_on_this_host(lease):
            value, since = self._seen.get(lease.id, (None, 0.0))
            if value != heartbeat:
                self._seen[lease.id] = heartbeat, time.monotonic()
                return True
            return time.monotonic() - since <= STALE_SECONDS
        if lease.pid == os.getpid() and lease.started == (_start_time(lease.pid) or ""):
            return lease.id in _held
        return _is_running(lease.pid, lease.started)

    def looks_alive(self, lease: Lease, heartbeat: float) -> bool:
        """Return the same for a reader that looks only once.

        A holder on another host counts as dead if its last heartbeat is older than
        ABANDONED_SECONDS. This also finds leases from before a reboot.
        """
        is_recent = time.time() - heartbeat <= ABANDONED_SECONDS
        return self.is_alive(lease, heartbeat) and (is_recent or _is_on_this_host(lease))


def _is_on_this_host(lease: Lease) -> bool:
    """Return whether the process of a lease can be looked up by its number."""
    return lease.host == this_host() and os.name == "posix"


@cache
def this_host() -> str:
    """Return a name for the machine, boot and process namespace where pids are unique."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        space = Path("/proc/self/ns/pid").readlink().name
    except OSError:  # another system than Linux
        boot = space = ""
    return f"{platform.node()} {boot} {space}".rstrip()


def _is_running(pid: int, started: str) -> bool:
    """Return whether a process with this number and start time exists."""
    now = _start_time(pid)
    if now is not None:
        return now == started
    if Path("/proc/self/stat").exists():
        return False
    try:
        os.kill(pid, 0)  # signal 0 only checks that the process exists
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _start_time(pid: int) -> str | None:
    """Return when a process started, in clock ticks since boot, or None if it has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The name of the process comes first, in parentheses, and may contain anything.
    values = text.rpartition(")")[2].split()
    return None if len(values) < 20 or values[0] in "ZX" else values[19]
