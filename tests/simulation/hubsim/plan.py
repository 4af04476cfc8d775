"""What happens in one run, as data: the work that comes in, the faults, and how the schedule is chosen.

A plan made from a seed is random in all its parts; one made by Hypothesis is small where it can be, so that it shrinks.
"""

from random import Random
from typing import Literal

import msgspec

from agentcom.protocol.rows import LANES
from agentcom.runtime import ScriptedChooser

FaultKind = Literal[
    "crash_before", "crash_during", "crash_after", "kill", "lose_process", "stall", "stand_still", "jump_clock",
    "fail_commit", "fill_disk", "break_disk", "disconnect", "half_open", "delay_line", "drop_request", "drop_answer",
    "duplicate_request", "delay_request", "restart_sidecar", "second_instance",
    "isolate", "ambush",
]  # fmt: skip
FAULT_KINDS: tuple[FaultKind, ...] = FaultKind.__args__  # type: ignore[attr-defined]
WEIGHTS = {
    "crash_before": 4, "crash_during": 5, "crash_after": 4, "kill": 3, "lose_process": 4, "stall": 3,
    "stand_still": 1, "jump_clock": 1, "fail_commit": 2, "fill_disk": 1, "break_disk": 1, "disconnect": 3,
    "half_open": 2, "delay_line": 2, "drop_request": 1, "drop_answer": 2, "duplicate_request": 3, "delay_request": 2,
    "restart_sidecar": 2, "second_instance": 1, "isolate": 3, "ambush": 3,
}  # fmt: skip
LEAST_TASKS, LEAST_FAULTS = 20, 5


class Work(msgspec.Struct, frozen=True):
    """Tasks that are submitted together, with a key that every try repeats."""

    after: float  #: seconds since the work before it
    count: int = 1
    lane: str = "normal"
    needs: tuple[str, ...] = ()
    target: str = ""
    delay_s: int = 0  #: not before
    deadline_s: int = 0


class Fault(msgspec.Struct, frozen=True):
    """`pick` decides whatever there is to decide: who, how long, which."""

    after: int  #: deliveries since the fault before it
    kind: FaultKind
    pick: int = 0


class Meddling(msgspec.Struct, frozen=True):
    """A person does something to the task that `pick` chooses."""

    after: float
    verb: str
    pick: int = 0


class Pausing(msgspec.Struct, frozen=True):
    """An operator pauses, drains or resumes something: a route, and what it names."""

    after: float
    route: str
    name: str = ""


class Plan(msgspec.Struct, frozen=True):
    seed: int
    work: tuple[Work, ...]
    faults: tuple[Fault, ...]
    meddling: tuple[Meddling, ...] = ()
    schedule: tuple[int, ...] | None = None  #: the script of a `ScriptedChooser`; None: all by the seed
    pausing: tuple[Pausing, ...] = ()
    strict: bool = False  #: every message is pickled on its way

    def random(self, purpose: str) -> Random:
        """A stream of its own for each purpose, so that a change of one leaves the others alone."""
        return Random(f"{self.seed}/{purpose}")


NEEDS = ((), (), (), ("python",), ("python",), ("rust",), ("cobol",))
PAUSES = (
    "lane.pause", "lane.pause", "lane.resume", "agent.pause", "agent.pause", "agent.resume", "agent.drain", "hub.drain",
    "hub.resume",
)  # fmt: skip
VERBS = ("cancel", "retry", "prioritise", "prioritise", "answer", "read", "read")


def plan_of(seed: int) -> Plan:
    """The plan of a seed."""
    draw = Random(f"{seed}/plan")
    work: list[Work] = []
    while sum(of.count for of in work) < LEAST_TASKS:
        work.append(_work(draw))
    faults = tuple(_fault(draw) for _ in range(LEAST_FAULTS + draw.randrange(8)))
    favourites = [draw.randrange(1 << 16) for _ in range(3)]
    meddling = tuple(
        Meddling(
            draw.choice((0.0, 0.01, 0.5, 4.0)) * draw.random(), draw.choice(VERBS), draw.choice(favourites)
        )
        for _ in range(draw.randrange(16))
    )
    strict = draw.random() < 0.1
    return Plan(seed, tuple(work), faults, meddling, pausing=_pausing(seed), strict=strict)


def _pausing(seed: int) -> tuple[Pausing, ...]:
    """In every second run. Dice of its own, so that the rest of a seed's plan is as it was before."""
    draw = Random(f"{seed}/pausing")
    count = draw.choice((0, 2, 5, 9)) if draw.random() < 0.5 else 0
    return tuple(_pause(draw) for _ in range(count))


def _pause(draw: Random) -> Pausing:
    route = draw.choice(PAUSES)
    kind = route.partition(".")[0]
    name = draw.choice({"lane": LANES, "agent": ("ada", "bob", "cy"), "hub": ("",)}[kind])
    return Pausing(draw.choice((0.0, 0.5, 4.0)) * draw.random(), route, name)


def _work(draw: Random) -> Work:
    return Work(
        after=draw.choice((0.0, 0.0, 0.01, 0.2, 1.0, 3.0)) * draw.random(),
        count=draw.choice((1, 1, 1, 2, 3, 6)),
        lane=draw.choice(("urgent", "high", "normal", "normal", "low")),
        needs=draw.choice(NEEDS),
        target=draw.choice(("", "", "", "", "ada")),
        delay_s=draw.choice((0, 0, 0, 0, 5)),
        deadline_s=draw.choice((0, 0, 0, 0, 0, 40)),
    )


def _fault(draw: Random) -> Fault:
    after = draw.choice((1, 3, 10, 60, 200, 400))
    after += draw.randrange(after)
    [kind] = draw.choices(FAULT_KINDS, [WEIGHTS[of] for of in FAULT_KINDS])
    return Fault(after, kind, draw.randrange(1 << 16))


def chooser_of(plan: Plan) -> Random | ScriptedChooser:
    return plan.random("schedule") if plan.schedule is None else ScriptedChooser(plan.schedule)
