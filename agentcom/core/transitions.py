"""The states of a task and every legal step between them: one table, which prints its own diagram.

May import: agentcom.protocol.
"""

from typing import Literal

from agentcom.protocol.errors import Refused
from agentcom.protocol.rows import FINAL, HELD, Phase

Step = Literal[
    "assign", "accept", "block", "unblock", "complete", "salvage", "retry_later", "give_up", "reject", "requeue",
    "reclaim", "due", "cancel", "retry",
]  # fmt: skip

NEXT: dict[Phase, dict[Step, Phase]] = {
    "queued": {
        "assign": "assigned",
        "reclaim": "working",
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
    "dead_letter": {"retry": "queued", "reclaim": "working", "salvage": "completed", "cancel": "cancelled"},
    "cancelled": {"retry": "queued"},
}


def next_phase(phase: Phase, step: Step) -> Phase:
    """Where `step` leads from `phase`. Raises `Refused` (`invalid_state`) with both names when it is not legal."""
    try:
        return NEXT[phase][step]
    except KeyError:
        raise Refused("invalid_state", f"a task that is {phase} cannot {step.replace('_', ' ')}") from None


def mermaid() -> str:
    """The diagram of the reference page."""
    arrows = [f"  {phase} --> {after}: {step}" for phase, row in NEXT.items() for step, after in row.items()]
    ends = [f"  {phase} --> [*]" for phase in NEXT if phase in FINAL]
    return "\n".join(["stateDiagram-v2", "  [*] --> queued", "  [*] --> scheduled", *arrows, *ends])


def is_held(phase: Phase) -> bool:
    return phase in HELD
