"""What the parts that look after the data show of themselves: snapshots, verification, compaction.

May import: msgspec.
"""

from typing import Literal

import msgspec


class VerifyProblem(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the store that is not as it must be."""

    table: str
    key: str  #: its parts with `/` between them; hexadecimal when it does not decode; "" for the table as a whole
    seq: int = 0  #: of the newest journal entry that wrote this key, 0 when there is none
    what: str  #: a sentence

    def __str__(self) -> str:
        seq = f" (journal entry {self.seq})" if self.seq else ""
        return f"{self.table} {self.key}{seq}: {self.what}"


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """The check of the store that runs, or ran last; from `problems` on, what the last finished one found."""

    running: bool
    reason: str
    begun_ms: int
    finished: bool  #: some check came to its end since the hub started
    failed: str = ""  #: why the newest one did not
    problems: list[VerifyProblem] = []  #: the first 1,000
    more: int = 0
    rows: dict[str, int] = {}
    bytes: int = 0
    seq: int = 0
    epoch: int = 0
    seconds: float = 0.0
    fold: str = ""


class RewriteView(msgspec.Struct, frozen=True, kw_only=True):
    """One rewrite of the store's file."""

    at: int
    bytes_before: int
    bytes_after: int
    seconds: float  #: in all
    pause_ms: float  #: for so long commits waited


class CompactionView(msgspec.Struct, frozen=True, kw_only=True):
    """GET and POST /api/compaction. The rewrite that a POST asked for is over when `done` has reached its `asked`."""

    state: str  #: "idle", "removing what is old", "looking at the file", "rewriting"
    asked: int  #: rewrites that were asked for since compaction started
    done: int  #: of these, how many have ended, well or not
    bytes: int  #: of the store's file, as of the last look
    free_bytes: int  #: of these, what a rewrite would give back
    removed: dict[str, int] = {}  #: since compaction started
    problem: str = ""  #: why the last rewrite did not happen
    last: RewriteView | None = None


class SnapshotView(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    path: str  #: its folder on the hub's machine
    epoch: int
    seq: int  #: the newest journal entry in it
    entry_at: int  #: when that was written
    made_at: int  #: when it was begun, or last read again and found to have everything
    bytes: int
    rows: dict[str, int]  #: by table
    digest: str  #: of its data.mdb
    version: str  #: of the release that made it
    standing: Literal["here", "left_out", "before"] = "here"
    """`left_out`: a restore discarded what is in it. `before`: of before the store was salvaged or began empty."""


class SnapshotList(msgspec.Struct, frozen=True, kw_only=True):
    folder: str
    running: bool  #: one is being made
    due_at: int  #: when the next one is
    snapshots: list[SnapshotView]  #: newest first
    problem: str = ""  #: why the last try failed
    remains: list[str] = []
    """Patterns of paths: what snapshots and archive have of before the store was salvaged or began empty. The hub never
    removes it.
    """


class SnapshotMade(msgspec.Struct, frozen=True, kw_only=True):
    snapshot: SnapshotView
    seconds: float
    renewed: bool  #: nothing had been committed since it was made, so it was only read again
    removed: list[str]  #: names of those that are not kept any longer
