"""Where everything of a data folder is.

    FOLDER/hub.lock    held by the hub for life; contains its pid
    FOLDER/store/      LMDB's data.mdb and lock.mdb; the redo log (agentcom.store.redo)

May import: operating system.
"""

import os
from pathlib import Path


def sync_folder(path: Path) -> None:
    """A new or renamed file survives a power cut only when its folder's entry does."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
