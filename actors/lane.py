"""One lane of the task queue: feeds `core.lane.Lane` and lets its decisions out when they are on disk."""

from typing import Any, ClassVar

import msgspec

from actors.durable import Durable
from agentcom.core.decision import Output
from agentcom.core.lane import Lane
from agentcom.core.policy import Policy
from agentcom.entropy import SystemEntropy
from agentcom.protocol.ops import Op
from agentcom.protocol.rows import LANES
from agentcom.protocol.rows import Lane as LaneName

_NEVER = float("inf")
MAX_SLEEP_S = 1.0
"""A lane looks at the clock at least this often, so a process that stood still is noticed."""


class LaneArgs(msgspec.Struct, frozen=True):
    lane: LaneName
    folder: str
    policy: Policy


class SurveyStep(msgspec.Struct, frozen=True):
    """From itself: the next slice of a survey."""

    def __str__(self) -> str:
        return "SurveyStep"


class LaneActor(Durable):
    soft_needs: ClassVar[tuple[str, ...]] = (
        "scheduler", "agents", "gateway", *(f"lane.{lane}" for lane in LANES),
    )  # fmt: skip
    cache_tables = ("task",)
    unread_tables = ("history", "by_submitter", "idempotency")

    def on_opened(self) -> None:
        self.lane = Lane(self.args.lane, self.args.policy, self.rows, SystemEntropy())
        self.armed_for = _NEVER
        self.surveying = False
        self.carry_out(self.lane.start(self.at, gateway_up=self.where("gateway") is not None))
        self._arm()
        self.ready()

    def on_news(self, msg: Any, sender: Any) -> None:
        if isinstance(msg, SurveyStep):
            self.surveying = False
            self.carry_out([self.lane.survey_step()])
        else:
            self.carry_out(self.lane.handle(msg, self.at), msg)
        self._go_on()

    def adopt(self, ops: tuple[Op, ...]) -> tuple[Output, ...]:
        return self.lane.adopt(ops, self.at)

    def is_ours(self, row: Any) -> bool:
        return bool(row.lane == self.args.lane)

    def on_refused(self, ask: Any) -> None:
        """Somebody used the key first: decided again, the winner's row now shows."""
        self.carry_out([self.lane.again(ask, self.at)], ask)

    def on_peer_up(self, name: str) -> None:
        self.lane.up(name, self.at)

    def on_peer_down(self, name: str) -> None:
        self.lane.down(name)

    def on_time(self, payload: Any) -> None:
        self.armed_for = _NEVER
        self.carry_out(self.lane.tick(self.at))
        self._go_on()

    def _go_on(self) -> None:
        if self.lane.windows.is_surveying and not self.surveying:
            self.surveying = True
            self.send(self.myAddress, SurveyStep())
        self._arm()

    def _arm(self) -> None:
        """One timer at a time, for the earliest need; a later one that is still set finds nothing to do."""
        if self.lane.wake_at >= self.armed_for != _NEVER:
            return
        clock = self.at.mono
        wake = min(max(self.lane.wake_at, clock), clock + MAX_SLEEP_S)
        if wake < self.armed_for - 0.001:
            self.armed_for = wake
            self.after(wake - clock, "tick")
