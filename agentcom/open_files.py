"""How many files, and so connections, this process may have open at once.

Many systems start programs with a soft limit of 1,024, for the sake of `select`, which nothing here uses.
May import: nothing of ours.
"""

import resource

SPARE = 512
"""Files for all else: the store, its tools, and clients of HTTP."""


def room_for(sessions: int) -> int:
    """Raise this process' limit so that so many sessions fit beside all else; how many do, as the hard limit stays."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = sessions + SPARE
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return sessions
    soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(1, soft - SPARE)
