"""Looks at the hub from time to time and keeps the alerts: a shell around `agentcom.core.alerting`.

One look: presence says who is here, a thread reads the figures, core decides, the store keeps it, the gateway is told.
May import: actors.durable, agentcom.{core, runtime, store}.
"""

from typing import Any, ClassVar

import msgspec
import structlog

from actors.durable import Durable
from agentcom.core.alerting import Alerting, News
from agentcom.core.decision import Decision, Output
from agentcom.core.messages import AskAttendance, Attendance, Maintain, Reply
from agentcom.protocol.alerts import Sample
from agentcom.runtime import BlockingDone, BlockingFailed, run_blocking
from agentcom.store.alert_queries import sample
from agentcom.store.env import reader_of

log = structlog.get_logger()


class AlerterArgs(msgspec.Struct, frozen=True):
    folder: str
    check_s: float
    blocked_alert_s: float = 900.0


class SampleFailed(RuntimeError):
    """The figures' query raised on its thread: a bug, and so a crash."""


class AlerterActor(Durable):
    soft_needs: ClassVar[tuple[str, ...]] = ("gateway", "presence")

    def on_opened(self) -> None:
        kept = self.rows.scan("alerts", (), limit=100)
        self.alerting = Alerting(kept, int(self.args.blocked_alert_s * 1000))
        self.look = 0  #: the number of the one under way; answers to earlier ones come too late
        self._arm()
        self.ready()

    def on_peer_up(self, name: str) -> None:
        if name == "gateway":
            self.say("gateway", self.alerting.condition())
        elif name == "presence":  # it has yet to hear of everyone
            self._arm()

    def _arm(self) -> None:
        self.look += 1
        self.after(self.args.check_s, self.look)

    def on_time(self, payload: Any) -> None:
        if payload != self.look:
            return
        self._arm()
        if self.admission() is None:  # or nothing could be written, and the store has an alert of its own
            ask = AskAttendance(reply_to=self.myAddress, request=self.look)
            self.carry_out([Decision(outputs=(Output("presence", ask),))])

    def on_news(self, msg: Any, sender: Any) -> None:
        match msg:
            case Reply(request, body) if request == self.look:
                here = body if isinstance(body, Attendance) else Attendance(None, frozenset())
                reader = reader_of(self.args.folder)
                run_blocking(self, sample, reader, self.at.ms, here.online, here.tasks, token=self.look)
            case BlockingDone(_, Sample() as found):
                self._carry_out(self.alerting.check(found))
            case BlockingFailed(_, error, text):
                raise SampleFailed(f"{error}: {text}")
            case Maintain():
                self._carry_out(self.alerting.answer(msg), msg)

    def _carry_out(self, decision: Decision, ask: Maintain | None = None) -> None:
        self.carry_out([decision], ask)
        for news in self.alerting.take_news():
            _log(news)


def _log(news: News) -> None:
    match news.what:
        case "fired":
            log.warning("alert.fired", rule=news.rule, severity=news.severity, reason=news.message)
        case "cleared":
            log.info("alert.cleared", rule=news.rule, severity=news.severity)
        case "acknowledged":
            log.info("alert.acknowledged", rule=news.rule, severity=news.severity, by=news.by)
