"""Rows on disk: one writer, group commit, a journal of everything.

Lives here: tables, the commit engine, readers, the environment; nothing else imports lmdb.
May import: agentcom.protocol, lmdb, msgspec.
"""

from agentcom.store.commits import Engine
from agentcom.store.env import Environment, Handle, handle, open_environment
from agentcom.store.errors import (
    CorruptRow,
    DataFolderLocked,
    KeyRefused,
    NewerSchema,
    StorageFull,
    StoreClosed,
    StoreError,
)
from agentcom.store.memory import MemoryStore
from agentcom.store.overlay import Overlay
from agentcom.store.reader import Reader, Snapshot

__all__ = [
    "CorruptRow",
    "DataFolderLocked",
    "Engine",
    "Environment",
    "Handle",
    "KeyRefused",
    "MemoryStore",
    "NewerSchema",
    "Overlay",
    "Reader",
    "Snapshot",
    "StorageFull",
    "StoreClosed",
    "StoreError",
    "handle",
    "open_environment",
]
