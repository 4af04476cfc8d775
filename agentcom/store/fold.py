"""What the journal's entries come to.

May import: agentcom.protocol.rows.
"""

from collections.abc import Iterable

from agentcom.protocol.rows import Journal

Folded = dict[tuple[int, bytes], bytes]


def fold(entries: Iterable[Journal], onto: Folded | None = None) -> Folded:
    """The rows that journal entries in order come to: what verify compares and restore replays."""
    rows = {} if onto is None else onto
    for entry in entries:
        for number, key, value in entry.ops:
            if value is None:
                rows.pop((number, key), None)
            else:
                rows[number, key] = value
    return rows
