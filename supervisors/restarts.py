"""What a supervisor does when something happens to a child: pure, in OTP's sense of every word.

Lives here: the state of a supervisor, the events that reach it, the actions it asks its shell for.
May import: msgspec, supervisors.specs. Never: a clock, randomness, I/O.

Every event is `(state, …, now) -> (state, actions)`. The state says which children are *doomed* (must go down
before anything starts) and which are down; `_advance` derives the next actions from that, one at a time where
order matters, so an exit that arrives in the middle of a restart needs no special case.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec.structs import replace

from supervisors.specs import Backoff, ChildSpec, Restart, SupervisorSpec

Phase = Literal["down", "starting", "up", "stopping", "gone"]
Then = Literal["", "start", "stay down", "forget"]

ALIVE = ("starting", "up", "stopping")
ORDERLY = ("normal", "shutdown")
ABORTED = "aborted"


class Child(msgspec.Struct, frozen=True):
    """`start` numbers its lives under this supervisor: notices about an older one are ignored."""

    spec: ChildSpec
    phase: Phase = "down"
    start: int = 0
    doomed: bool = False
    then: Then = ""  # what was asked for by name, once it is down; "": what its restart type says
    due: float = 0.0  # not to be started before
    failures: int = 0  # in a row, for backoff
    ready_at: float = 0.0


class Sup(msgspec.Struct, frozen=True):
    spec: SupervisorSpec
    children: tuple[Child, ...]
    window: tuple[float, ...] = ()  # when restarts were counted
    booted: bool = False
    ending: str | None = None  # the reason it will exit with, once its children are down
    forgotten: int = 0  # highest start of a child that was forgotten: one of the same name counts on from it


class Exited(msgspec.Struct, frozen=True):
    name: str
    start: int
    reason: str


class Start(msgspec.Struct, frozen=True):
    name: str
    start: int


class Stop(msgspec.Struct, frozen=True):
    name: str
    start: int


class Kill(msgspec.Struct, frozen=True):
    name: str
    start: int


class WaitUntil(msgspec.Struct, frozen=True):
    at: float


class Booted(msgspec.Struct, frozen=True):
    """Every child got ready once."""


class GiveUp(msgspec.Struct, frozen=True):
    """More restarts than the intensity allows; the children are stopped and `Finished` follows."""

    name: str
    reason: str


class Finished(msgspec.Struct, frozen=True):
    """All children are down; the supervisor exits with this reason."""

    reason: str


Action = Start | Stop | Kill | WaitUntil | Booted | GiveUp | Finished
Outcome = tuple[Sup, list[Action]]

GAVE_UP = "gave up"
LATE = "not ready in time"


# ── arithmetic shared with dynamic children ──────────────────────────────────────────────────────


def wants_restart(restart: Restart, reason: str) -> bool:
    """OTP's table of (restart type x exit reason)."""
    if restart == "transient":
        return reason not in ORDERLY
    return restart == "permanent"


def spend(window: tuple[float, ...], now: float, period_s: float) -> tuple[float, ...]:
    """The restarts still in the window, and this one."""
    return (*(at for at in window if at > now - period_s), now)


def failures_after(failures: int, phase: str, uptime_s: float, backoff: Backoff) -> int:
    """A life longer than the longest wait makes the next failure the first again."""
    return 1 if phase == "up" and uptime_s > backoff.cap_s else failures + 1


# ── events ───────────────────────────────────────────────────────────────────────────────────────


def begin(spec: SupervisorSpec, now: float) -> Outcome:
    return _advance(Sup(spec, tuple(Child(child) for child in spec.children)), now)


def on_ready(s: Sup, name: str, start: int, now: float) -> Outcome:
    child = _alive(s, name, start)
    if child is None or child.phase != "starting":
        return s, []
    return _advance(_put(s, replace(child, phase="up", ready_at=now)), now)


def on_exit(s: Sup, exited: Exited, now: float, draw: float = 0.0) -> Outcome:
    """A child is gone. A notice about another life than the present one changes nothing."""
    child = _alive(s, exited.name, exited.start)
    if child is None:
        return s, []
    if child.doomed:
        return _advance(_laid_down(s, child), now)
    reason = LATE if child.phase == "stopping" else exited.reason
    if not wants_restart(child.spec.restart, reason):
        return _advance(_after_last_exit(_ended(s, child), child), now)
    return _restart(s, child, reason, now, draw)


def on_late(s: Sup, name: str, start: int) -> Outcome:
    """Its time to get ready, or to stop, is over."""
    child = _alive(s, name, start)
    if child is None or child.phase == "up":
        return s, []
    return _put(s, replace(child, phase="stopping")), [Kill(name, start)]


def on_due(s: Sup, now: float) -> Outcome:
    """A backoff may be over."""
    return _advance(s, now)


def on_asked_to_stop(s: Sup, now: float) -> Outcome:
    return _advance(s if s.ending else _end(s, "shutdown"), now)


def on_asked_to_restart(s: Sup, name: str, now: float) -> Outcome:
    """An operator's restart takes the same siblings along as a crash would, and no budget."""
    child = find(s, name)
    if child is None or s.ending:
        return s, []
    return _advance(_doom(s, _group(s, child), asked_for=name), now)


def on_asked_to_start(s: Sup, name: str, now: float) -> Outcome:
    """OTP's restart_child: one that ended, was terminated or is about to be, or waits. Whoever runs is left alone."""
    child = find(s, name)
    if child is None or s.ending:
        return s, []
    if child.phase not in ALIVE:
        return _advance(_put(s, replace(child, phase="down", due=0.0)), now)
    return (_put(s, replace(child, then="start")) if child.then else s), []


def on_asked_to_add(s: Sup, spec: ChildSpec, now: float) -> Outcome:
    """OTP's start_child: after the others."""
    if s.ending or find(s, spec.name) is not None:
        return s, []
    return _advance(replace(s, children=(*s.children, Child(spec, start=s.forgotten))), now)


def on_asked_to_end(s: Sup, name: str, then: Then, now: float) -> Outcome:
    """OTP's terminate_child ("stay down") and delete_child ("forget"). Counts nowhere, and no sibling follows."""
    child = find(s, name)
    if child is None or s.ending:
        return s, []
    if child.phase in ALIVE:
        return _advance(_put(s, replace(child, doomed=True, then=then)), now)
    return _advance(_forget(s, child) if then == "forget" else _ended(s, child), now)


def find(s: Sup, name: str) -> Child | None:
    return next((child for child in s.children if child.spec.name == name), None)


# ── decisions ────────────────────────────────────────────────────────────────────────────────────


def _restart(s: Sup, child: Child, reason: str, now: float, draw: float) -> Outcome:
    backoff = s.spec.backoff or Backoff()
    failures = failures_after(child.failures, _phase(child), now - child.ready_at, backoff)
    waits = reason == ABORTED or (s.spec.backoff is not None and child.phase != "up")
    due = now + backoff.delay(failures, draw) if waits else now
    s = _put(s, replace(child, phase="down", failures=failures if waits else 0, due=due))
    if reason != ABORTED:
        s = replace(s, window=spend(s.window, now, s.spec.period_s))
        if len(s.window) > s.spec.intensity:
            s, actions = _advance(_end(s, GAVE_UP), now)
            return s, [GiveUp(child.spec.name, reason), *actions]
    return _advance(_doom(s, _group(s, child)), now)


def _phase(child: Child) -> str:
    return "up" if child.phase == "up" else "starting"


def _group(s: Sup, child: Child) -> tuple[str, ...]:
    """Who restarts with it, in start order."""
    names = tuple(each.spec.name for each in s.children)
    if s.spec.strategy == "one_for_all":
        return names
    at = names.index(child.spec.name)
    return names[at:] if s.spec.strategy == "rest_for_one" else names[at : at + 1]


def _doom(s: Sup, names: tuple[str, ...], asked_for: str = "") -> Sup:
    """All of them go down and come up again; temporary ones only if asked for by name."""
    return replace(
        s, children=tuple(_doomed(c, asked_for) if c.spec.name in names else c for c in s.children)
    )


def _doomed(child: Child, asked_for: str) -> Child:
    asked = child.spec.name == asked_for
    if child.phase in ALIVE:
        # What was asked for earlier, and is still on its way, stands.
        return replace(child, doomed=True, due=0.0, then="start" if asked else child.then)
    return replace(child, phase="down", due=0.0 if asked else child.due)


def _laid_down(s: Sup, child: Child) -> Sup:
    match child.then:
        case "forget":
            return _forget(s, child)
        case "stay down":
            return _ended(s, child)
        case "start":
            return _put(s, replace(child, phase="down", doomed=False, then=""))
    # OTP: a temporary child is never restarted, not even when a sibling's exit took it down.
    if child.spec.restart == "temporary":
        return _forget(s, child)
    return _put(s, replace(child, phase="down", doomed=False))


def _ended(s: Sup, child: Child) -> Sup:
    """It stays down; of a temporary one nothing is kept."""
    if child.spec.restart == "temporary":
        return _forget(s, child)
    return _put(s, replace(child, phase="gone", doomed=False, then=""))


def _forget(s: Sup, child: Child) -> Sup:
    rest = tuple(c for c in s.children if c.spec.name != child.spec.name)
    return replace(s, children=rest, forgotten=max(s.forgotten, child.start))


def _after_last_exit(s: Sup, child: Child) -> Sup:
    """A significant child that will not come back may end its supervisor."""
    if not child.spec.significant or s.spec.auto_shutdown == "never" or s.ending:
        return s
    others = [c for c in s.children if c.spec.significant and c.phase != "gone"]
    return s if s.spec.auto_shutdown == "all_significant" and others else _end(s, "shutdown")


def _end(s: Sup, reason: str) -> Sup:
    children = tuple(replace(c, doomed=True) if c.phase in ALIVE else c for c in s.children)
    return replace(s, ending=reason, children=children)


# ── what to do next ──────────────────────────────────────────────────────────────────────────────


def _advance(s: Sup, now: float) -> Outcome:
    doomed = [child for child in s.children if child.doomed]
    if doomed:
        return _stop_last(s, doomed[-1])
    if s.ending:
        return s, [Finished(s.ending)]
    s, actions = _start_down(s, now)
    if s.booted or any(child.phase in ("down", "starting", "stopping") for child in s.children):
        return s, actions
    return replace(s, booted=True), [*actions, Booted()]


def _stop_last(s: Sup, child: Child) -> Outcome:
    """Reverse start order, each gone before the next is asked."""
    if any(c.doomed and c.phase == "stopping" for c in s.children):
        return s, []
    return _put(s, replace(child, phase="stopping")), [Stop(child.spec.name, child.start)]


def _start_down(s: Sup, now: float) -> Outcome:
    """In start order, each ready before the next starts; independent ones do not wait for each other."""
    ordered = not s.booted or s.spec.strategy != "one_for_one"
    actions: list[Action] = []
    for child in s.children:
        if child.phase == "down" and child.due > now:
            actions.append(WaitUntil(child.due))
        elif child.phase == "down":
            child = replace(child, phase="starting", start=child.start + 1)
            s = _put(s, child)
            actions.append(Start(child.spec.name, child.start))
        if ordered and child.phase in ("down", "starting", "stopping"):
            break
    return s, actions


def _alive(s: Sup, name: str, start: int) -> Child | None:
    child = find(s, name)
    return child if child is not None and child.start == start and child.phase in ALIVE else None


def _put(s: Sup, child: Child) -> Sup:
    return replace(s, children=tuple(child if c.spec.name == child.spec.name else c for c in s.children))
