"""What every `decide` returns.

May import: agentcom.protocol, agentcom.core.messages.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from agentcom.core.messages import Ask, FrameOut, Several
from agentcom.protocol.ops import Key, Must, Op


class Output(NamedTuple):
    """A message that leaves when the decision it belongs to is on disk.

    `to` is a name ("scheduler", "lane.high"), a child of a dynamic supervisor ("agents/agent.ada"), or an opaque
    address (a `reply_to`). A `message` may be a function of the sequences the store allocated for this commit.
    """

    to: Any
    message: Any


class Decision(NamedTuple):
    """What to write and what to say. A decision without ops still waits for the actor's newest ticket.

    `must` makes it refusable: it is adopted only when committed, and its failure takes nobody along.
    """

    ops: tuple[Op, ...] = ()
    outputs: tuple[Output, ...] = ()
    event: str = ""
    must: tuple[Must, ...] = ()


NOTHING = Decision()
_JOINED = ("gateway", "agents/", "lane.", "scheduler")
"""Names, and beginnings of names, whose actors understand `Several`."""


def joined(outputs: Sequence[Output]) -> Sequence[Output]:
    """Notices to one name as one message, and frames for one edge. To each receiver everything goes in its order;
    between receivers mailboxes promise none. Questions stay alone, as each may need an answer.
    """
    if len(outputs) < 2:
        return outputs
    left: list[Output] = []
    waiting: dict[Any, list[Output]] = {}
    for output in outputs:
        to, message = output
        if type(to) is str:
            place: Any = to
            fits = to.startswith(_JOINED) and not isinstance(message, Ask)
        else:  # addresses are opaque here: not every system's can be hashed
            place = id(to)
            fits = type(message) is FrameOut
        if fits:
            waiting.setdefault(place, []).append(output)
            continue
        if place in waiting:
            left.append(_one(waiting.pop(place)))
        left.append(output)
    left += map(_one, waiting.values())
    return left


def _one(outputs: list[Output]) -> Output:
    if len(outputs) == 1:
        return outputs[0]
    return Output(outputs[0].to, Several(tuple([output.message for output in outputs])))


class Now(NamedTuple):
    ms: int  #: wall clock, since 1970
    mono: float  #: seconds of a clock that is never set


class Rows(Protocol):
    """A writer's own view of the rows: what is on disk, with its own uncommitted ops laid over."""

    def get(self, table: str, key: Key) -> Any: ...

    def scan(
        self, table: str, prefix: Key, *, after: Key | None = None, limit: int, reverse: bool = False
    ) -> list[tuple[Key, Any]]: ...


class Entropy(Protocol):
    """Randomness and ids, made outside the core."""

    def uniform(self, low: float, high: float) -> float: ...

    def task_id(self, now_ms: int) -> str: ...

    def message_id(self, now_ms: int) -> str: ...


def sends(to: Any, *messages: Any) -> Iterator[Output]:
    return (Output(to, message) for message in messages)
