"""A hub whose disk hangs while DATA/hang exists and fails while DATA/fail does; run as a module, like the hub.

Unrealistic: the fault is in the store's thread, so reads go on, and what was written before is really on disk.
"""

import sys
import time
from pathlib import Path
from typing import Any

import lmdb

from agentcom.cli.main import main
from agentcom.store import errands
from agentcom.store.transactions import WriteTransaction

errands.SLOW_S, errands.STUCK_S = 1, 5
_commit = WriteTransaction._commit


def commit(self: Any) -> None:
    folder = Path(self._holder.file.raw.path()).parent
    while (folder / "hang").exists():
        time.sleep(0.01)
    if (folder / "fail").exists():
        self._txn.abort()
        raise lmdb.Error("mdb_txn_commit: Input/output error")
    _commit(self)


WriteTransaction._commit = commit  # type: ignore[method-assign]

if __name__ == "__main__":
    sys.exit(main())
