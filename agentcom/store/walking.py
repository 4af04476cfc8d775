"""A store read row by row, whatever state it is in: what cannot be read is told and left out.

May import: agentcom.store.{errors,findings,reader,tables}, lmdb.
"""

from collections.abc import Iterator
from typing import Any
from zlib import crc32

import lmdb
import msgspec

from agentcom.store.errors import CorruptRow
from agentcom.store.findings import Findings
from agentcom.store.reader import View
from agentcom.store.tables import Table, decode_key, decode_row

_SMALL = 24
"""Rows up to this size repeat over and over (marks, counters): each is checked once."""
_KNOWN = 1_000


class Look:
    """One consistent view. Every method is safe on a damaged file, as far as LMDB itself is."""

    def __init__(self, view: View, findings: Findings) -> None:
        self.view, self.findings = view, findings
        self.rows: dict[str, int] = {}  #: how many entries each table that was walked has
        self.damaged: set[str] = set()  #: tables of which some row cannot be read

    def raw(self, table: Table) -> Iterator[tuple[bytes, bytes]]:
        """Every entry in the order of its keys. A walk that comes back to where it was would never end."""
        last = b""
        try:
            for key, raw in self.view.forward(table.number, b"", None):
                if key <= last:
                    self.findings.unreadable(table, last, "its keys are not in order")
                    return
                last = key
                yield key, raw
        except lmdb.Error as error:
            self.findings.unreadable(table, last, str(error))

    def walk(self, table: Table, *, keys: bool = True) -> Iterator[tuple[bytes, Any]]:
        """Every entry with its row, None where that or its key is damaged. `keys=False`: the caller checks the keys."""
        known: dict[bytes, Any] = {}
        row_of, small, n = self.read, _SMALL, 0
        for key, raw in self.raw(table):
            n += 1
            if len(raw) > small:
                row = row_of(table, key, raw)
            elif raw in known:
                row = known[raw]
            else:
                row = row_of(table, key, raw)
                if row is not None and len(known) < _KNOWN:
                    known[raw] = row
            if keys and not self._fits(table, key):
                row = None
            yield key, row
        self.rows[table.name] = n

    def _fits(self, table: Table, key: bytes) -> bool:
        """Whether a key decodes. Those of text alone, the most frequent, are not taken apart for it."""
        if table.texts and key.count(0) == table.depth and not key[-1]:
            try:
                key.decode()
            except UnicodeDecodeError:
                return self.parts(table, key) is not None
            return True
        return self.parts(table, key) is not None

    def parts(self, table: Table, key: bytes) -> tuple[str | int, ...] | None:
        """The key decoded; None when that cannot be."""
        try:
            return decode_key(table, key)
        except CorruptRow as error:
            self.findings.tell(table, key, error.why)
            return None

    def get(self, table: Table, key: bytes) -> bytes | None:
        """One row's bytes; also None when its page cannot be read, and then `lacks` knows the table."""
        try:
            return self.view.get(table.number, key)
        except lmdb.Error as error:
            self.findings.unreadable(table, key, str(error))
            return None

    def row(self, table: Table, key: bytes) -> Any:
        """One row decoded; None when it is not there or damaged, which its table's own walk tells."""
        raw = self.get(table, key)
        return None if raw is None else self.decoded(table, key, raw)

    def decoded(self, table: Table, key: bytes, raw: bytes) -> Any:
        """A row that its table's own walk tells of when it is damaged; then None."""
        try:
            return decode_row(table, raw, key)
        except CorruptRow:
            return None

    def lacks(self, table: Table, key: bytes, what: str) -> None:
        """Tell of a row that should be there, unless its table cannot be read anyway."""
        if table.name not in self.findings.broken:
            self.findings.tell(table, key, what)

    def read(self, table: Table, key: bytes, raw: bytes) -> Any:
        """`tables.decode_row`, written out: this runs for every row there is."""
        body = raw[4:]
        if not body or crc32(body) != int.from_bytes(raw[:4], "big"):
            return self._damaged(table, key, "the row is damaged: its checksum does not match")
        try:
            return table.decoder.decode(body)
        except msgspec.DecodeError as error:
            return self._damaged(table, key, f"the row is not one of this table: {error}")

    def _damaged(self, table: Table, key: bytes, what: str) -> None:
        self.damaged.add(table.name)
        self.findings.tell(table, key, what)
