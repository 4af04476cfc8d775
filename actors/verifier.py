"""Runs the whole check of the store beside the hub: once after a start that followed a crash, and when asked.

The check itself is a child process, see agentcom.store.verifying; what is said of it is agentcom.core.verification.
May import: agentcom.{core, runtime, store}, actors.maintainer.
"""

from pathlib import Path
from typing import Any

import msgspec
import structlog

from actors.maintainer import Maintainer
from agentcom.core.messages import Maintain, Reply
from agentcom.core.verification import Run, alerts, facts, view
from agentcom.runtime import clock_of
from agentcom.store.child import Tool
from agentcom.store.env import opened
from agentcom.store.layout import Layout

log = structlog.get_logger()

FIRST_S = 5.0
"""After a start: the hub is busy enough then."""


class VerifierArgs(msgspec.Struct, frozen=True):
    data: str
    snapshots: str  #: absolute, as is `archive`
    archive: str
    first_s: float = FIRST_S


class VerifierActor(Maintainer):
    def on_start(self, args: VerifierArgs) -> None:
        self.run = Run()
        self.tool: Tool | None = None
        self.stopping = False
        self.clock = clock_of(self)
        store = opened(Path(args.data))
        if store is not None and not (store.was_clean or store.was_new):
            self.after(args.first_s, "after a crash")
        self.ready()
        self._tell_health()

    def on_time(self, payload: Any) -> None:
        self._begin(payload)

    def on_ask(self, ask: Maintain) -> None:
        """A check takes minutes: whoever asks for one is told that it runs, and looks again."""
        asked = ask.verb == "verify.run"
        if asked:
            self._begin(f"asked for by {ask.by or 'someone'}")
        self.send(ask.reply_to, Reply(ask.request, view(self.run), 202 if asked else 200))

    def _begin(self, why: str) -> None:
        """One at a time: a second request joins the first."""
        if self.working or self.stopping:
            return
        self.run = Run(running=True, why=why, begun_ms=int(self.clock.now() * 1000), last=self.run.last)
        log.info("verify.started", reason=why)
        self.tool = Tool("verifying")
        folders = {"snapshots": self.args.snapshots, "archive": self.args.archive}
        self.work("verify", self.tool.run, {"store": str(Layout(Path(self.args.data)).store), **folders})
        self._tell_health()

    def after_verify(self, report: dict[str, Any]) -> None:
        self._end(self.run.ended(report))
        found = len(report["problems"]) + report["more"]
        if found:
            log.error("verify.failed", problems=found, first=self.run.first, seq=report["seq"])
        else:
            log.info(
                "verify.passed", seq=report["seq"], seconds=round(report["seconds"], 1), fold=report["fold"]
            )

    def on_failure(self, step: str, error: str, why: str) -> None:
        reason = why.removeprefix("verifying: ")
        if not self.stopping:
            log.error("verify.ended", reason=reason)
        self._end(self.run.failed(reason))

    def _end(self, run: Run) -> None:
        self.run, self.tool = run, None
        self._tell_health()
        if self.stopping:
            self.stopped()

    def on_stop(self) -> None:
        self.stopping = True
        if self.tool is None:
            self.stopped()
        else:
            self.tool.stop()

    def _tell_health(self) -> None:
        self.report_condition(facts(self.run), *alerts(self.run))
