"""Trimming the journal: its oldest entries go, a few at a time; its newest one never does.

Up to where is decided by whoever asks, see `agentcom.store.shipping.trimmable`.
May import: agentcom.store.{messages,steps,tables,transactions}.
"""

from itertools import islice
from typing import Any, Protocol

from agentcom.store.messages import Trimmed
from agentcom.store.steps import reached
from agentcom.store.tables import TABLES

JOURNAL = TABLES["journal"].number


class Trimmable(Protocol):
    """What trimming needs of a store."""

    def reading(self) -> Any: ...
    def writing(self) -> Any: ...


def trim(store: Trimmable, upto_seq: int, limit: int) -> Trimmed:
    """Delete at most `limit` of the oldest entries up to `upto_seq` in one transaction, on the writer's thread.

    The newest entry stays whatever is asked, so that its seq is never minted again. Raises `StorageFull`.
    """
    with store.reading() as view:
        last = view.last_key(JOURNAL)
        if last is None:
            return Trimmed(0, 0, 0)
        stop = min((max(upto_seq, 0) + 1).to_bytes(8, "big"), last)
        keys = [key for key, _ in islice(view.forward(JOURNAL, b"", stop), max(limit, 0))]
    if keys:
        reached("trim.begun")
        with store.writing() as txn:
            for key in keys:
                txn.delete(JOURNAL, key)
        reached("trim.done")
    return _result(store, stop, len(keys))


def _result(store: Trimmable, stop: bytes, gone: int) -> Trimmed:
    with store.reading() as view:
        oldest, _ = view.first(JOURNAL, b"")  # the newest is there
    first, end = int.from_bytes(oldest, "big"), int.from_bytes(stop, "big")
    return Trimmed(first - 1, max(0, end - first), gone)
