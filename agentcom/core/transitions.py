"""The states of a task and every legal step between them: one table, which prints its own diagram, and what both mean.

docs/reference/task-states.md is made from it.
May import: agentcom.protocol.
"""

from typing import Literal

from agentcom.protocol.errors import Refused
from agentcom.protocol.rows import FINAL, HELD, Phase

Step = Literal[
    "assign", "accept", "block", "unblock", "complete", "salvage", "retry_later", "give_up", "reject", "requeue",
    "reclaim", "reclaim_asking", "due", "cancel", "retry",
]  # fmt: skip

NEXT: dict[Phase, dict[Step, Phase]] = {
    "queued": {
        "assign": "assigned",
        "reclaim": "working",
        "reclaim_asking": "blocked",
        "salvage": "completed",
        "retry_later": "scheduled",
        "give_up": "dead_letter",
        "cancel": "cancelled",
    },
    "scheduled": {"due": "queued", "give_up": "dead_letter", "cancel": "cancelled"},
    "assigned": {
        "accept": "working",
        "block": "blocked",
        "complete": "completed",
        "retry_later": "scheduled",
        "give_up": "dead_letter",
        "reject": "queued",
        "requeue": "queued",
        "cancel": "cancelled",
    },
    "working": {
        "block": "blocked",
        "complete": "completed",
        "retry_later": "scheduled",
        "give_up": "dead_letter",
        "reject": "queued",
        "requeue": "queued",
        "cancel": "cancelled",
    },
    "blocked": {
        "unblock": "working",
        "complete": "completed",
        "retry_later": "scheduled",
        "give_up": "dead_letter",
        "reject": "queued",
        "requeue": "queued",
        "cancel": "cancelled",
    },
    "completed": {},
    "dead_letter": {
        "retry": "queued",
        "reclaim": "working",
        "reclaim_asking": "blocked",
        "salvage": "completed",
        "cancel": "cancelled",
    },
    "cancelled": {"retry": "queued"},
}


MEANS: dict[Phase, str] = {
    "queued": "It stands in its lane until an agent gets it. If nobody may have it, `waiting` says why.",
    "scheduled": "It waits for a time: its `not_before`, or the end of the backoff after a failure.",
    "assigned": "An agent was told of it and has not accepted it yet. Its lease is short.",
    "working": "Its agent accepted it, and news of the work extends its lease.",
    "blocked": "Its agent asked a question and waits for the answer of an operator.",
    "completed": "Done, with a result.",
    "dead_letter": "Given up, with the reasons, until a person retries it.",
    "cancelled": "An operator wanted it no more.",
}
"""What each state says of a task."""

CAUSE: dict[Step, tuple[str, str]] = {
    "assign": ("hub", "An agent that was offered it claimed it. The generation rises."),
    "accept": ("agent", "It accepts, or reports progress, which says the same."),
    "block": ("agent", "It asks a question."),
    "unblock": ("operator or agent", "The question was answered, or its agent goes on without."),
    "complete": ("agent", "It holds the task and reports it done."),
    "salvage": (
        "agent",
        "The last holder of a task that was taken back reports it done, and nobody had it since.",
    ),
    "retry_later": (
        "agent",
        "It, or the last holder after it was taken back, reports a failure; attempts and budget are left.",
    ),
    "give_up": (
        "agent or hub",
        "A failure that was the last one or not to be retried; too many losses; the deadline passed, the token budget "
        "is spent, a question found no answer in time.",
    ),
    "reject": ("agent", "It will not do it, and is kept from it for a time."),
    "requeue": (
        "hub",
        "It is taken back: the lease ran out, or its agent no longer has it. From `working` and `blocked` a loss.",
    ),
    "reclaim": (
        "agent",
        "The last holder still has it, and nobody had it since. It keeps its generation.",
    ),
    "reclaim_asking": ("agent", "The same, of a task whose question nobody had answered."),
    "due": ("hub", "Its time has come: it enters its lane at the tail."),
    "cancel": ("operator", "A holder is told to stop."),
    "retry": ("operator", "A second chance: attempts and losses are counted anew."),
}
"""Who makes each step, and when."""


def next_phase(phase: Phase, step: Step) -> Phase:
    """Where `step` leads from `phase`. Raises `Refused` (`invalid_state`) with both names when it is not legal."""
    try:
        return NEXT[phase][step]
    except KeyError:
        raise Refused("invalid_state", f"a task that is {phase} cannot {step.replace('_', ' ')}") from None


def mermaid() -> str:
    """All of it as a Mermaid state diagram."""
    arrows = [f"  {phase} --> {after}: {step}" for phase, row in NEXT.items() for step, after in row.items()]
    ends = [f"  {phase} --> [*]" for phase in NEXT if phase in FINAL]
    return "\n".join(["stateDiagram-v2", "  [*] --> queued", "  [*] --> scheduled", *arrows, *ends])


def is_held(phase: Phase) -> bool:
    return phase in HELD
