"""Which process is which: a pid alone is reused, a pid with its start time and the boot is not.

Linux (`/proc`). Only the standard library: the detached runner imports it.
"""

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Any


def mark(pid: int) -> str:
    """When process `pid` started, in which boot; "" if it does not run (a zombie does not)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    fields = stat[stat.rindex(")") + 2 :].split()  # the name before may hold anything
    return "" if fields[0] in "ZX" else f"{boot}:{fields[19]}"


def record(pid: int) -> dict[str, Any]:
    return {"pid": pid, "started": mark(pid)}


def is_alive(recorded: dict[str, Any] | None) -> bool:
    """Whether the very process that was recorded still runs."""
    if not recorded or not recorded.get("started"):
        return False
    return bool(mark(int(recorded["pid"])) == recorded["started"])


def signal_group(pgid: int, number: int) -> None:
    """Signal a whole process group, as far as anything is left of it and it is ours to signal."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pgid, number)


def group_is_empty(pgid: int) -> bool:
    """Whether nothing but zombies is left of a group."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError):
                stat = (entry / "stat").read_text()
                fields = stat[stat.rindex(")") + 2 :].split()
                if int(fields[2]) == pgid and fields[0] not in "ZX":
                    return False
    return True


def end_group(pgid: int, grace_s: float) -> None:
    """TERM, and KILL what is still there after the grace."""
    deadline = time.monotonic() + grace_s
    signal_group(pgid, signal.SIGTERM)
    while time.monotonic() < deadline and not group_is_empty(pgid):
        time.sleep(0.02)
    signal_group(pgid, signal.SIGKILL)
