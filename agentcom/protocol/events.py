"""What changes in the hub, as a stream that can be taken up again: places in it, and what one look at it finds.

A place is the seq of a journal entry, of which all is told; `SEQ.N` is when only its first N events are.
May import: msgspec, agentcom.protocol.
"""

from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

from agentcom.protocol.dashboard import HubEvent

Place = Annotated[str, Meta(pattern=r"^(0|[1-9][0-9]{0,15}(\.[1-9][0-9]{0,5})?)$")]


class EventStreamQuery(msgspec.Struct, frozen=True, kw_only=True):
    """GET /api/events. `after` is the `id` of an event, which the header `Last-Event-ID` overrides; without: now."""

    after: Place | None = None


class EventGap(msgspec.Struct, frozen=True, kw_only=True):
    """What was between cannot be told: it is too old, or the hub was restored. Look at the whole state again."""

    type: Literal["gap"] = "gap"
    after: str  #: the place up to which all was told
    seq: int  #: what follows is after this one


class Told(NamedTuple):
    """One event, and the place right after it."""

    place: str
    event: HubEvent | EventGap


class EventsTold(msgspec.Struct, frozen=True):
    """One look. With `more` the next look finds something at once."""

    events: list[Told]
    place: str  #: of the next look
    more: bool = False


def read_place(text: str) -> tuple[int, int]:
    """The journal entry, and how many of its events were told; 0: all of them."""
    seq, _, told = text.partition(".")
    return int(seq), int(told or 0)


def place_of(seq: int, told: int, of: int) -> str:
    """After `told` events of an entry that has `of`."""
    return str(seq) if told == of else f"{seq}.{told}"
