"""Rules about live actors, looked at between two steps: windows, and who supervises whom."""

from typing import Any

from actors.lane import LaneActor
from agentcom.runtime.cell import RUNNING, Cell
from hubsim.ledger import holds
from supervisors.base import Supervised
from supervisors.parent import Parent

_NOT_YET = ("new", "ended")


class Windows:
    """Window = first N of (rows + uncommitted ops). A lane is looked at when something of it changed."""

    def __init__(self) -> None:
        self._seen: dict[str, Any] = {}

    def look(self, actor: Any) -> None:
        if type(actor) is not LaneActor or not hasattr(actor, "lane") or actor._sv_phase == "ended":
            return
        resident = actor.lane.windows.resident
        mark = (
            id(actor),
            actor.tickets._issued,
            len(actor.tickets._open.ops) if actor.tickets.is_open else 0,
            [(bucket, len(of.heads), of.more) for bucket, of in resident.items()],
        )
        if resident and self._seen.get(actor.name) != mark:
            self._seen[actor.name] = mark
            check_windows(actor)


def check_windows(actor: LaneActor) -> None:
    """What is not adopted yet may be missing: a task that was moved here, or one whose commit may be refused."""
    name = actor.lane.name
    arriving = {key[1] for key, _ in actor.rows.scan("moves", (name,), limit=1_000)}
    refusable = [ticket for ticket in actor.tickets._queue if ticket.must]
    arriving |= {op.key[4] for ticket in refusable for op in ticket.ops if op.table == "ready"}
    for bucket, of in actor.lane.windows.resident.items():
        found = actor.rows.scan("ready", (name, *bucket), limit=1_000)
        heads = [(key[3], key[4]) for key, _ in found if key[4] not in arriving]
        kept = [(head.order, head.task_id) for head in of.heads if head.task_id not in arriving]
        holds(kept == heads[: len(kept)], "window of", name, bucket, "is", kept, "rows say", heads)
        holds(
            of.more or len(kept) == len(heads), "window of", name, bucket, "ends at", kept, "rows say", heads
        )


def check_supervision(cells: list[Cell]) -> None:
    """Every actor that runs has a supervisor that runs and knows it."""
    for cell in cells:
        actor = cell.instance
        if cell.state is RUNNING and isinstance(actor, Supervised) and actor._sv_phase not in _NOT_YET:
            supervisor = _actor_at(actor._sv_supervisor)
            if cell.parent is None:
                continue  # the root, which nobody supervises
            known = isinstance(supervisor, Parent) and any(
                live.address == cell.address for live in supervisor._live.values()
            )
            holds(known, actor.name, "is not supervised")


def _actor_at(address: Any) -> Any:
    sink = getattr(address, "sink", None)
    return sink.instance if isinstance(sink, Cell) and sink.state is RUNNING else None
