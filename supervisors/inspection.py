"""One child of a supervisor in full: what it is, why it last ended, what is left of its restart budget.

Lives here: the question, the answer, and how a supervisor makes it from its tables. Decides nothing.
May import: msgspec, thespian, supervisors.{messages,specs}.
"""

from __future__ import annotations

import msgspec
from thespian.actors import ActorAddress

from supervisors.messages import Note
from supervisors.specs import ChildSpec, load


class Budget(msgspec.Struct, frozen=True):
    """More than `intensity` restarts within `period_s` are too many; `spent` of them are in that window now.

    `shared` with the other children of its supervisor, which then gives up; else its own, and it is quarantined.
    """

    intensity: int
    period_s: float
    spent: int
    shared: bool


class Details(msgspec.Struct, frozen=True):
    """What the tree has no room for. `traceback` is that of the last crash, cut to what was reported."""

    actor: str
    restart: str
    needs: tuple[str, ...]
    soft_needs: tuple[str, ...]
    last_exit: str
    traceback: str
    budget: Budget


class Inspect(Note, frozen=True):
    name: str
    reply_to: ActorAddress
    request: int = 0

    def unavailable(self) -> Inspected:
        return Inspected(self.request, None)


class Inspected(Note, frozen=True):
    request: int
    details: Details | None


def budget(window: tuple[float, ...], now: float, intensity: int, period_s: float, *, shared: bool) -> Budget:
    """What of the window still counts."""
    return Budget(intensity, period_s, sum(at > now - period_s for at in window), shared)


def details(spec: ChildSpec, left: Budget, last_exit: str, traceback: str) -> Details:
    actor = load(spec.actor)
    return Details(
        actor=spec.actor,
        restart=spec.restart,
        needs=tuple(getattr(actor, "needs", ())),
        soft_needs=tuple(getattr(actor, "soft_needs", ())),
        last_exit=last_exit,
        traceback=traceback,
        budget=left,
    )
