"""Alert rules: the thresholds that an administrator may change, the figures that are looked at, what is kept of each.

The table `alerts` has a row for each rule that ever fired, under the rule's name, and those of `THRESHOLDS` and
`WINDOW`; they are maps and lists. Times are wall-clock milliseconds since 1970.
May import: msgspec only.
"""

from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

Rule = Literal[
    "queue_growing", "high_failure_rate", "stuck_tasks", "no_agents_online", "high_error_rate", "unanswered_questions"
]  # fmt: skip
RULES: tuple[Rule, ...] = (
    "queue_growing", "high_failure_rate", "stuck_tasks", "no_agents_online", "high_error_rate", "unanswered_questions",
)  # fmt: skip
Severity = Literal["warning", "critical"]
SEVERITY: dict[Rule, Severity] = {
    "queue_growing": "warning", "high_failure_rate": "warning", "stuck_tasks": "critical",
    "no_agents_online": "critical", "high_error_rate": "warning", "unanswered_questions": "warning",
}  # fmt: skip
THRESHOLDS, WINDOW = "thresholds", "window"
"""Keys of `alerts` that are no rule's."""
WINDOW_MS = 3_600_000
"""What "of late" means: failures are counted in the last hour, which slides."""

Cooldown = Annotated[int, Meta(ge=0, le=86_400_000)]
Checks = Annotated[int, Meta(ge=1, le=1_000)]
Tasks = Annotated[int, Meta(ge=1, le=1_000_000)]


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of what one rule is held to. `cooldown_ms`: an alert that goes on is told again after so long."""


class QueueGrowing(Limits, frozen=True, kw_only=True):
    """So many checks in a row found more tasks queued than the one before; over after `stable_checks` that did not."""

    increases: Checks = 3
    stable_checks: Checks = 3
    cooldown_ms: Cooldown = 300_000


class HighFailureRate(Limits, frozen=True, kw_only=True):
    """Of what ended in the last hour more than `percent` failed, and at least `min_tasks` ended."""

    percent: Annotated[float, Meta(ge=0, le=100)] = 50.0
    min_tasks: Tasks = 1
    cooldown_ms: Cooldown = 600_000


class StuckTasks(Limits, frozen=True, kw_only=True):
    """A task is held and nothing was heard of it for so long: its row is old, and no connected agent has it."""

    silent_ms: Annotated[int, Meta(ge=1_000, le=2_592_000_000)] = 300_000
    cooldown_ms: Cooldown = 0


class NoAgentsOnline(Limits, frozen=True, kw_only=True):
    """There are agents that may connect, and none does."""

    cooldown_ms: Cooldown = 0


class HighErrorRate(Limits, frozen=True, kw_only=True):
    """More than `failures` in the last hour."""

    failures: Annotated[int, Meta(ge=0, le=1_000_000)] = 10
    cooldown_ms: Cooldown = 300_000


class UnansweredQuestions(Limits, frozen=True, kw_only=True):
    """A task has been blocked by a question for so long; null is `blocked.alert_s` of the settings."""

    blocked_ms: Annotated[int, Meta(ge=0, le=31_536_000_000)] | None = None
    cooldown_ms: Cooldown = 300_000


class Thresholds(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """GET and PUT /api/config/alert-thresholds: the whole map. What a PUT leaves out is as it was at first."""

    queue_growing: QueueGrowing = QueueGrowing()
    high_failure_rate: HighFailureRate = HighFailureRate()
    stuck_tasks: StuckTasks = StuckTasks()
    no_agents_online: NoAgentsOnline = NoAgentsOnline()
    high_error_rate: HighErrorRate = HighErrorRate()
    unanswered_questions: UnansweredQuestions = UnansweredQuestions()


class Silent(NamedTuple):
    """A held task of which no connected agent says that it works on it."""

    task_id: str
    holder: str
    updated_ms: int  #: when its row last changed


class Asking(NamedTuple):
    """A blocked task. They sort by age, the oldest first."""

    blocked_ms: int  #: since when
    task_id: str
    holder: str


class Sample(NamedTuple):
    """The hub at one moment. None: it cannot be known just now."""

    now_ms: int
    queued: int  #: tasks that could be taken
    completed: int  #: reports of completion, ever
    failed: int  #: reports of failure, and tasks given up by the hub itself, ever
    known: int  #: agents with a token that is good; only counted when none is connected
    online: int | None  #: agents that are connected
    silent: tuple[Silent, ...] | None
    asking: tuple[Asking, ...]  #: sorted


class Ended(NamedTuple):
    """What had ended, ever, at a time."""

    ms: int
    completed: int
    failed: int


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a rule."""

    state: Literal["active", "acknowledged", "cleared"]
    since_ms: int  #: when it began to hold
    told_ms: int  #: when it last fired
    message: str = ""  #: as of then, as are the details
    details: dict[str, int | float | str | list[str]] = {}
    by: str = ""  #: who looks after it, once it is acknowledged
    cleared_ms: int = 0  #: when it was over
