"""Compaction's rules: in which order it asks, and when rewriting the file is worth it. What it does when is in
`compaction_state`.

May import: agentcom.protocol.
"""

from typing import NamedTuple

from agentcom.protocol.rows import LANES

JOURNAL = "journal"
STOPS: tuple[str, ...] = (*(f"lane.{lane}" for lane in LANES), "directory", JOURNAL)
SPARE_BYTES = 64 << 20
"""What stays free on the disk while a copy is made, so that the hub can go on writing."""


class RewriteRules(NamedTuple):
    """When the file is rewritten without being asked."""

    free_share: float
    free_bytes: int


class Found(NamedTuple):
    """What a look at the file and its disk told."""

    bytes: int
    free_bytes: int  #: of the file's
    room_bytes: int  #: on the disk


def is_worth_it(found: Found, rules: RewriteRules) -> bool:
    return found.free_bytes >= rules.free_bytes and found.free_bytes >= rules.free_share * found.bytes


def lacks_room(found: Found) -> str:
    """Why a copy cannot be made now, "" when it can. What is written while it is made needs room twice."""
    used = found.bytes - found.free_bytes
    needed = used + used // 8 + SPARE_BYTES
    if found.room_bytes >= needed:
        return ""
    return (
        f"the disk has {found.room_bytes >> 20} MB left and a copy of the file needs {needed >> 20} MB; free some "
        "room, or give the data folder a larger disk"
    )
