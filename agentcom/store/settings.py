"""Where and how to store: what the hub's settings come to for the store.

May import: agentcom.store.env, msgspec.
"""

import msgspec

from agentcom.store.env import RESERVE


class Settings(msgspec.Struct, frozen=True):
    folder: str
    sync: bool = True  #: False: fsync once a second, so a power cut may take the last second
    max_bytes: int = 0  #: of the store's file; 0 is as large as the disk
    reserve: int = RESERVE  #: `full` is told when less room than this is left
    ballast: int = 0  #: bytes that are given up when the disk is full; 0 is none
