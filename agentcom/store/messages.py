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


class Trim(StoreMessage, frozen=True):
    """Delete the oldest journal entries up to `upto_seq`, at most `limit` of them; the newest entry always stays.

    Not itself in the journal. Done between batches, in a transaction of its own; answered by `Trimmed`.
    """

    upto_seq: int
    limit: int = 500


class Trimmed(StoreMessage, frozen=True):
    upto: int  #: every entry up to here is gone
    left: int  #: at most so many that were asked for are still there; ask again
    gone: int  #: how many this one deleted
    problem: str = ""  #: why nothing was deleted: no room to write, or the store is stopping


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


# --- a rewritten store takes the place of the one in force -------------------------------------------


class PlaceStore(StoreMessage, frozen=True):
    """Asks for a folder for a copy of the store; answered by `Place`. A folder given before is taken back."""


class Place(StoreMessage, frozen=True):
    store: str  #: the store in force
    into: str  #: empty; what is in it counts for nothing until the store was told to switch
    problem: str = ""  #: why there is none


class SwitchStore(StoreMessage, frozen=True):
    """The copy in `folder` has everything up to `seq`. Between two batches the store adds the rest and goes on with it;
    answered by `Switched`.
    """

    folder: str
    seq: int


class Switched(StoreMessage, frozen=True):
    problem: str = ""  #: why nothing was changed; the copy is gone
    took_ms: float = 0.0  #: for so long commits waited
    entries: int = 0  #: of the journal that were added
    bytes_before: int = 0
    bytes_after: int = 0
