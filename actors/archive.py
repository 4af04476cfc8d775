"""Ships the journal to its archive every second or so: a shell around `agentcom.store.archiving`.

May import: agentcom.{core, runtime, store}, actors.maintainer.
"""

from pathlib import Path
from typing import Any

import msgspec
import structlog

from actors.maintainer import Maintainer
from agentcom.core.messages import Archived, AskArchived, Reply
from agentcom.runtime import clock_of
from agentcom.store.archiving import Archivist
from agentcom.store.env import handle
from agentcom.store.shipping import Report, alerts, facts, pause_s

log = structlog.get_logger()


class ArchiveArgs(msgspec.Struct, frozen=True):
    data: str
    folder: str  #: absolute
    #: a file in `data` that remembers where an archive was begun, see agentcom.store.holding
    marker: str = ""
    every_s: float = 1.0
    segment_bytes: int = 16 << 20
    alert_s: float = 60.0


class ArchiveActor(Maintainer):
    def on_start(self, args: ArchiveArgs) -> None:
        self.archivist = Archivist(
            handle(Path(args.data)),
            Path(args.folder),
            segment_bytes=args.segment_bytes,
            marker=Path(args.marker) if args.marker else None,
        )
        self.report = Report(args.folder, 0, None, None, None)
        self.noted: list[str] = []
        self.failures = 0
        self.stopping = False
        self.look_again = False
        self.clock = clock_of(self)
        self.ready()
        self._ship()
        self.after(args.alert_s / 2, "watch")

    def on_time(self, payload: Any) -> None:
        if payload == "watch":
            self.after(self.args.alert_s / 2, "watch")
            self._tell_health()
        elif not self.working:
            self._ship()

    def on_stop(self) -> None:
        """What is left is shipped; a folder that does not answer is cut short by the supervisor.

        A pass under way may have read the journal before the last commits, so another one follows it.
        """
        self.stopping = True
        self.look_again = bool(self.working)
        if not self.working:
            self._ship()

    def on_news(self, msg: Any, sender: Any) -> None:
        if isinstance(msg, AskArchived):
            self.send(msg.reply_to, Reply(msg.request, Archived(self.report.promised)))

    def _ship(self) -> None:
        self.begun_s = self.clock.monotonic()
        self.work("ship", self.archivist.ship, int(self.clock.now() * 1000))

    def after_ship(self, report: Report) -> None:
        self._log(report)
        self.report = report
        self.failures = self.failures + 1 if report.problem else 0
        self._tell_health()
        if not self.stopping:
            self.after(pause_s(report, self.failures, self.args.every_s), "ship")
        elif report.has_more or self.look_again:
            self.look_again = False
            self._ship()
        else:
            self.work("close", self.archivist.close)

    def after_close(self, _: None) -> None:
        log.info("archive.stopped", archived_seq=self.report.archived, lag=self.report.lag)
        self.stopped()

    def on_failure(self, step: str, error: str, why: str) -> None:
        """While the store starts again there is nothing to read; anything else is a bug."""
        if self.stopping:
            log.error("archive.failed", folder=self.args.folder, reason=why)
            self.stopped()
        elif error == "StoreClosed":
            self.after(self.args.every_s, "ship")
        else:
            raise RuntimeError(f"{step}: {error}: {why}")

    def _log(self, report: Report) -> None:
        for sentence in report.told:
            self.noted.append(sentence)
            log.warning("archive.noticed", reason=sentence)
        if report.problem and report.problem != self.report.problem:
            log.error("archive.failed", folder=report.folder, reason=report.problem)
        elif not report.problem and (self.report.problem or self.report.archived is None):
            log.info("archive.reached", folder=report.folder, archived_seq=report.archived, lag=report.lag)

    def _tell_health(self) -> None:
        silent_s = self.clock.monotonic() - self.begun_s if self.working else 0.0
        said = (facts(self.report, self.noted), alerts(self.report, self.args.alert_s, silent_s))
        if self._said is None or said != (self._said.facts, self._said.alerts):
            self.report_condition(said[0], *said[1])
