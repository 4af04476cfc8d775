"""What a check of a store found: problems, each with its table, key and journal entry, and what was looked at.

Lives here: `Problem` and `Report`, which are what users and other processes get, and `Findings`, which gathers them.
May import: agentcom.protocol.views, agentcom.store.{errors,tables}, msgspec.
"""

import msgspec

from agentcom.protocol.upkeep_views import VerifyProblem as Problem
from agentcom.store.errors import CorruptRow
from agentcom.store.tables import Table, decode_key

__all__ = ["MOST", "Findings", "Problem", "Report", "difference", "readable"]

MOST = 1_000
"""Problems that are kept; further ones are counted. A store with so many needs a restore, not a longer list."""


class Report(msgspec.Struct, kw_only=True):
    """What was walked, on one consistent view, and what was found."""

    problems: list[Problem]  #: the first 1,000
    more: int  #: problems beyond these
    rows: dict[str, int]  #: by table
    pages: int  #: of the file, free ones included; 0 for a store in memory
    bytes: int  #: of these pages
    used: int = 0  #: bytes of those of them that hold something: what was read
    seq: int  #: the newest journal entry
    epoch: int
    seconds: float
    #: onto what the journal was folded and how much of it, or why it was not; "" when not asked for
    fold: str = ""

    @property
    def ok(self) -> bool:
        return not self.problems


class Findings:
    """Problems as they are found. `told` keeps their raw keys, so that their journal entries can be looked up."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.more = 0
        self.told: dict[tuple[int, bytes], list[int]] = {}
        #: tables that could not be walked to their end: what is missing is no news
        self.broken: set[str] = set()

    def tell(self, table: Table, key: bytes, what: str, seq: int = 0) -> None:
        if len(self.problems) >= MOST:
            self.more += 1
            return
        self.told.setdefault((table.number, key), []).append(len(self.problems))
        name = readable(table, key)
        if table.name == "journal" and name.isdecimal() and len(key) == 8:
            seq = int(name)
        self.problems.append(Problem(table=table.name, key=name, seq=seq, what=what))

    def unreadable(self, table: Table, at: bytes, why: str) -> None:
        """The rest of a table cannot be read; said once for each table."""
        if table.name not in self.broken:
            self.broken.add(table.name)
            where = "from its beginning on" if not at else "behind this key"
            self.tell(table, at, f"the table cannot be read {where}: {why}")

    def stamp(self, number: int, key: bytes, seq: int) -> None:
        """A journal entry wrote this key; later entries overwrite what earlier ones said."""
        for place in self.told.get((number, key), ()):
            self.problems[place] = msgspec.structs.replace(self.problems[place], seq=seq)


def readable(table: Table, key: bytes) -> str:
    """A key for people."""
    if not key:
        return ""
    try:
        return "/".join(str(part) for part in decode_key(table, key))
    except CorruptRow:
        return key.hex()


def difference(found: bytes | None, due: bytes | None) -> str:
    """How a row differs from what its newest journal entry wrote."""
    if found is None:
        return "the row is missing: the journal wrote it"
    return (
        "the row is too many: the journal deleted it"
        if due is None
        else "the row is not what the journal wrote"
    )
