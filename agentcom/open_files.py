"""How many files, and so connections, this process may have open at once.

Many systems start programs with a soft limit of 1,024, for the sake of `select`, which nothing here uses.
May import: nothing of ours.
"""

import resource
from typing import NamedTuple

SPARE = 256
"""Files for all else: the store, its tools, pages."""


class Room(NamedTuple):
    """For connections: the sessions' WebSockets, and those that are none."""

    sessions: int
    http: int


def room_for(wanted: Room) -> Room:
    """Raise this process' limit so that `wanted` fits beside all else; what fits, as the hard limit stays."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = sum(wanted) + SPARE
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return _shared(max(2, soft - SPARE), wanted)


def _shared(files: int, wanted: Room) -> Room:
    """HTTP gets a quarter at most: sessions are what a hub is for."""
    http = max(1, min(wanted.http, files // 4))
    return Room(min(wanted.sessions, files - http), http)
