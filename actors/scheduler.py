"""The scheduler's actor: feeds what agents and lanes say to `agentcom.core.scheduler`, carries what it answers.

It never commits and keeps nothing: after a crash, lanes and agents tell it everything again.
May import: supervisors.base, agentcom.{core, runtime}.
"""

from collections.abc import Iterable
from typing import Any

import msgspec
import structlog
from thespian.actors import ActorAddress

from agentcom.core.decision import Output
from agentcom.core.messages import Message
from agentcom.core.scheduler import Rules, Scheduler
from agentcom.protocol.rows import LANES, Lane
from agentcom.runtime import Clock, SystemClock
from supervisors.base import Supervised

log = structlog.get_logger()

SWEEP_S = 30.0
"""An offer without an answer is given up after once to twice this; a claim takes milliseconds."""
LANE_OF: dict[str, Lane] = {f"lane.{lane}": lane for lane in LANES}


class SchedulerArgs(msgspec.Struct, frozen=True, kw_only=True):
    rules: Rules
    clock: Clock = msgspec.field(default_factory=SystemClock)


class Flush(Message, frozen=True):
    """To itself, behind the mail that is waiting: many agents that come at once are told to the lanes once."""


class SchedulerActor(Supervised):
    soft_needs = ("agents", *LANE_OF)

    def on_start(self, args: SchedulerArgs) -> None:
        self.clock = args.clock
        self.core = Scheduler(args.rules)
        self.is_flushing = False
        self.after(SWEEP_S, "sweep")
        self.ready()

    def on_message(self, msg: Any, sender: ActorAddress) -> None:
        if isinstance(msg, Flush):
            self.is_flushing = False
            self._carry(self.core.flush())
        else:
            self._carry(self.core.on(msg, int(self.clock.now() * 1_000_000)))

    def on_up(self, name: str, incarnation: int) -> None:
        if lane := LANE_OF.get(name):
            self._carry(self.core.lane_up(lane))

    def on_down(self, name: str) -> None:
        lane = LANE_OF.get(name)
        self._carry(self.core.lane_down(lane) if lane else self.core.agents_down())

    def on_wakeup(self, payload: Any) -> None:
        self.after(SWEEP_S, "sweep")
        outputs = self.core.sweep()
        for lost in self.core.given_up:
            log.warning("offer.unanswered", actor=self.name, agent_id=lost.agent_id, task_id=lost.task_id)
        self._carry(outputs)

    def _carry(self, outputs: Iterable[Output]) -> None:
        for to, message in outputs:
            supervisor, _, child = to.partition("/")
            if child:
                self.tell_child(supervisor, child, message)
            else:
                self.tell(to, message)
        if self.core.needs_flush and not self.is_flushing:
            self.is_flushing = True
            self.send(self.myAddress, Flush())
