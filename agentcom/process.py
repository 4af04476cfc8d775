"""The hub's own process in figures, as far as the operating system tells them.

May import: agentcom.protocol.
"""

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from agentcom.protocol.metrics import Family, by_label, counter, gauge

PROC = Path("/proc/self")


def families(lag_s: float, restarts: Mapping[str, int]) -> list[Family]:
    """`restarts` by actor, since the hub started."""
    said = "Restarts of each part since the hub started, but for single agents and channels."
    return [
        counter("process_cpu_seconds_total", "Processor time of the hub's process.", time.process_time()),
        *_of_proc(),
        gauge("loop_lag_seconds", "How long the event loop last took to answer its watchdog.", lag_s),
        by_label("actor_restarts_total", "counter", said, "actor", restarts),
    ]


def _of_proc() -> Iterator[Family]:
    """Nothing where there is no such folder."""
    try:
        status = (PROC / "status").read_text(encoding="ascii", errors="replace")
        files = len(os.listdir(PROC / "fd"))
    except OSError:
        return
    yield gauge("process_rss_anon_bytes", "Memory of its own that is in use.", rss_anon_bytes(status))
    yield gauge("process_open_fds", "Open files and sockets.", files)


def rss_anon_bytes(status: str) -> int:
    """Of the text of /proc/PID/status; 0 when it does not say."""
    for line in status.splitlines():
        name, _, value = line.partition(":")
        if name == "RssAnon":
            return int(value.split()[0]) * 1024
    return 0
