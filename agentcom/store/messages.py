"""What actors and the store say to each other.

Lives here: requests, answers and the store's status, all frozen and picklable.
May import: agentcom.protocol.ops, msgspec.
"""

from typing import Any, Literal

import msgspec

from agentcom.protocol.ops import Must, Op


class StoreMessage(msgspec.Struct, frozen=True, gc=False):
    """Base; its text is constant, as Thespian formats messages for logs it never writes."""

    def __str__(self) -> str:
        return type(self).__name__


class Open(StoreMessage, frozen=True):
    """Start a new incarnation of a name. Everything older of that name is committed or refused before the
    answer.
    """

    name: str


class Opened(StoreMessage, frozen=True):
    name: str
    incarnation: int  #: the store's life << 32 | n


class Commit(StoreMessage, frozen=True):
    """Everything one event changed, all or nothing. A commit with `must` may be refused without harm to its
    actor.
    """

    actor: str
    incarnation: int
    ticket: int
    event: str
    ops: tuple[Op, ...]
    must: tuple[Must, ...] = ()


class Committed(StoreMessage, frozen=True):
    ticket: int
    seq: int  #: of its journal entry
    appended: tuple[int, ...] = ()  #: the sequences of its `Append`s, in their order


Reason = Literal["refused", "failed", "aborted", "storage_full"]


class Failed(StoreMessage, frozen=True):
    """Nothing of the ticket was written.

    `refused`: a `Must` did not hold; `found` is the row in its way, and later tickets are not touched.
    `failed`, `storage_full`: every later ticket of the incarnation is answered `aborted`.
    """

    ticket: int
    code: Reason
    message: str
    found: Any = None


class Answers(StoreMessage, frozen=True):
    """All that one batch answers to one sender, in the order it asked."""

    items: tuple[Committed | Failed, ...]


class GetStatus(StoreMessage, frozen=True):
    """Asks for one `StoreStatus`."""


class StoreStatus(StoreMessage, frozen=True):
    """Figures for admission: sent to every opened name when `full`, `overloaded` or `stuck` changes, and on
    `GetStatus`.
    """

    queued: int = 0  #: commits that wait for the batch under way
    last_batch: int = 0
    last_commit_ms: float = 0.0
    commits: int = 0  #: since the store started
    full: bool = False  #: refuse with `storage_full` what would write
    overloaded: bool = False  #: refuse with `overloaded` what would write
    stuck: bool = False  #: the batch under way has taken very long
    sync: bool = True
    batch_p50: int = 0  #: commits, of the last few hundred batches; this and the rest only on `GetStatus`
    batch_p99: int = 0
    commit_p50_ms: float = 0.0  #: how long one of those batches took
    commit_p99_ms: float = 0.0
