"""Who gets no new work until an operator says so: the whole hub, a lane, an agent.

Each pause is one row of `config`; without a row there is none. The directory writes them; a lane, and an agent's actor,
looks at its own when it starts and when it is told that they changed.
May import: agentcom.protocol.
"""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from agentcom.protocol.ops import Key
from agentcom.protocol.rows import LANES, Lane

PREFIX = "paused/"
"""Of the names in `config`; the kind follows, then the name."""
Kind = Literal["hub", "lane", "agent"]


class Pause(NamedTuple):
    kind: Kind
    name: str  #: "" for the hub
    by: str
    since_ms: int

    @property
    def key(self) -> Key:
        return key_of(self.kind, self.name)

    @property
    def row(self) -> dict[str, Any]:
        return {"by": self.by, "since_ms": self.since_ms}


def key_of(kind: Kind, name: str = "") -> Key:
    return (f"{PREFIX}{kind}/{name}",)


def every_pause(rows: Any) -> Iterator[Pause]:
    """Of anything that scans rows, by name."""
    after: Key = (PREFIX,)
    while found := rows.scan("config", (), after=after, limit=500):
        for key, row in found:
            if not str(key[0]).startswith(PREFIX):
                return
            kind, _, name = str(key[0]).removeprefix(PREFIX).partition("/")
            yield Pause(kind, name, row["by"], row["since_ms"])  # type: ignore[arg-type]
        after = found[-1][0]


def is_paused(rows: Any, kind: Kind, name: str = "") -> bool:
    return rows.get("config", key_of(kind, name)) is not None


def why_not(rows: Any, lane: Lane) -> str:
    """Why this lane hands out nothing; "" when it does."""
    if is_paused(rows, "hub"):
        return "the hub is drained"
    return f"lane {lane} is paused" if is_paused(rows, "lane", lane) else ""


def paused_lanes(rows: Any) -> list[Lane]:
    """That hand out nothing, each for itself or with the whole hub."""
    return [lane for lane in LANES if why_not(rows, lane)]
