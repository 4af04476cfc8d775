"""What every `decide` returns.

May import: agentcom.protocol, agentcom.core.messages.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Protocol

from agentcom.core.messages import Ask, Several
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
_JOINED = ("gateway", "agents/")


def joined(outputs: Iterable[Output]) -> Iterator[Output]:
    """Neighbours to one agent or to the gateway as one message. Questions stay alone, as each may need an answer."""
    waiting: list[Any] = []
    to: Any = None
    for output in outputs:
        fits = (
            type(output.to) is str and output.to.startswith(_JOINED) and not isinstance(output.message, Ask)
        )
        if waiting and (not fits or output.to != to):
            yield _one(to, waiting)
            waiting = []
        if fits:
            to = output.to
            waiting.append(output.message)
        else:
            yield output
    if waiting:
        yield _one(to, waiting)


def _one(to: str, messages: list[Any]) -> Output:
    return Output(to, messages[0] if len(messages) == 1 else Several(tuple(messages)))


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
