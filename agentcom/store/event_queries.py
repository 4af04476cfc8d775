"""The journal as events from any place in it, for streams: told once each, and what cannot be told is said so.

May import: agentcom.protocol, agentcom.store.
"""

from collections.abc import Callable, Iterator
from typing import Any

from agentcom.protocol.events import EventGap, EventsTold, EventStreamQuery, Told, place_of, read_place
from agentcom.protocol.rows import Journal
from agentcom.store.changes import told
from agentcom.store.reader import Snapshot

ENTRIES = 500
"""Of the journal that one look may read."""
EVENTS = 1_000
"""One look may tell."""


def _stream(snap: Snapshot, query: EventStreamQuery, _key: str) -> EventsTold:
    head = snap.seq
    if query.after is None:
        return EventsTold([], str(head))
    seq, begun = read_place(query.after)
    if seq > head:  # of a hub that was restored, or another one
        return EventsTold([_gap(query.after, head)], str(head))
    place, events = query.after, list[Told]()
    for until, found in _entries(snap, seq - bool(begun), query.after):
        place = until
        events += found
        if len(events) >= EVENTS:
            cut = events[:EVENTS]
            return EventsTold(cut, cut[-1].place, more=True)
    return EventsTold(events, place, more=read_place(place)[0] < head)


def _entries(snap: Snapshot, after: int, start: str) -> Iterator[tuple[str, list[Told]]]:
    """Each entry's place and what is to be told of it; before the first of a hole, the hole."""
    begun, place = read_place(start)[1], start
    for (seq,), entry in snap.scan("journal", (), after=(after,), limit=ENTRIES) if after >= 0 else ():
        number = int(seq)
        missing = number != after + 1
        tells = _told(number, entry)[0 if missing else begun :]
        yield str(number), [_gap(place, number - 1), *tells] if missing else tells
        after, begun, place = number, 0, str(number)


def _told(seq: int, entry: Journal) -> list[Told]:
    events = list(told(entry))
    return [Told(place_of(seq, n, len(events)), event) for n, event in enumerate(events, 1)]


def _gap(after: str, seq: int) -> Told:
    return Told(str(seq), EventGap(after=after, seq=seq))


QUESTIONS: dict[str, Callable[[Snapshot, Any, str], Any]] = {"event.stream": _stream}
