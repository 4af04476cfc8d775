"""A tool: carries the journal of a store that nobody has open, and that may be damaged, into archive segments.

What it could read before it was killed by a torn file is there all the same.
Argument: {"store", "into", "after", "entries"}; prints {"epoch", "line", "life", "store"} first. Result: {"last"}, the
seq of the store's newest entry. `entries` false only asks for that.
May import: agentcom.store.{child,env,errors,foreign,restore_plan,segments,tables}, lmdb.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lmdb

from agentcom.store import child
from agentcom.store.env import SCHEMA
from agentcom.store.errors import CorruptRow, StoreUnreadable
from agentcom.store.foreign import Foreign
from agentcom.store.restore_plan import Way, straight
from agentcom.store.segments import Entry, Header, SegmentWriter
from agentcom.store.tables import TABLES, decode_key, decode_row, encode_key

JOURNAL = TABLES["journal"]


def work(argument: dict[str, Any]) -> dict[str, Any]:
    with Foreign(Path(argument["store"]), lock=False) as store:
        way = Way(store.meta("epoch") or 1, straight(store.meta("line") or ()))
        child.say(
            {
                "epoch": way.epoch,
                "line": way.line,
                "life": store.meta("life") or 0,
                "store": store.meta("store"),
            }
        )
        try:
            if argument["entries"]:
                _carry(store, way, int(argument["after"]), Path(argument["into"]))
            with store.reading() as view:
                last = view.last_key(JOURNAL.number)
        except lmdb.Error as error:
            raise StoreUnreadable(argument["store"], str(error)) from error
    return {"last": 0 if last is None else int(decode_key(JOURNAL, last)[0])}


def _carry(store: Foreign, way: Way, after: int, into: Path) -> None:
    """One segment for each stretch without a gap."""
    writer: SegmentWriter | None = None
    ends = {end for _, end in way.line}
    try:
        for entry in _readable(store, after):
            if writer is None or entry.seq != writer.next or entry.seq - 1 in ends:
                writer = _next_segment(writer, way, entry.seq, into)
            writer.append(entry)
            writer.flush()
    finally:
        if writer is not None:
            writer.close()


def _next_segment(old: SegmentWriter | None, way: Way, first: int, into: Path) -> SegmentWriter:
    if old is not None:
        old.close()
    epoch = way.epoch_of(first)
    line = tuple(part for part in way.line if part[0] < epoch)
    return SegmentWriter(into, Header(1, SCHEMA, epoch, first, line))


def _readable(store: Foreign, after: int) -> Iterator[Entry]:
    """Entries whose row is whole; a damaged one is left out, which makes a gap."""
    start = encode_key(JOURNAL, (after + 1,))
    with store.reading() as view:
        for key, row in view.forward(JOURNAL.number, start, None):
            try:
                seq = int(decode_key(JOURNAL, key)[0])
                decode_row(JOURNAL, row, seq)
            except CorruptRow:
                continue
            yield Entry(seq, row)


if __name__ == "__main__":
    child.main(work)
