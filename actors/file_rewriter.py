"""The store's file is written anew when that is worth it: the half of compaction that is about the file.

The rewrite is described in `agentcom.store.rewriting` and `agentcom.store.switching`.
May import: agentcom.{core, runtime, store}, actors.maintainer.
"""

import random
import shutil

import structlog

from actors.maintainer import Maintainer
from agentcom.backoff import delay_s
from agentcom.core.compaction import Found, Progress, RewriteRules
from agentcom.protocol.upkeep_views import RewriteView
from agentcom.runtime import clock_of
from agentcom.store.child import Tool
from agentcom.store.messages import Place, PlaceStore, Switched, SwitchStore
from agentcom.store.rewriting import Order
from agentcom.store.tidying import look

log = structlog.get_logger()

RETRY_BASE_S, RETRY_CAP_S = 60.0, 3_600.0


class FileRewriter(Maintainer):
    """A subclass begins it by the step "look", whenever its own work is done, and goes on in `on_rest`."""

    tool: Tool | None = None  #: of the class, as it may crash before it was started

    def begin_rewriter(self, rules: RewriteRules) -> None:
        self.rules = rules
        self.tool = None
        self.progress = Progress()
        self.clock = clock_of(self)
        self.rng = random.Random()  # noqa: S311  # jitter of a pause
        self.not_before_s = 0.0  #: a rewrite that failed is not tried again by itself before
        self.place: Place | None = None
        self.why = ""

    def on_rest(self) -> None:
        """There is no more to do with the file for now."""

    def on_crash(self) -> None:
        if self.tool is not None:
            self.tool.stop()

    def _now_ms(self) -> int:
        return int(self.clock.now() * 1000)

    def placed(self, msg: Place | Switched) -> None:
        """The store's answer to a step of ours; one from before a crash finds us at something else."""
        if self.progress.state != "rewriting":
            return
        if isinstance(msg, Place):
            self._copy(msg)
        else:
            self._switched(msg)

    def copy_failed(self, why: str) -> None:
        """What there is of it is removed at once: it may be what fills the disk."""
        assert self.place is not None
        self.tool = None
        self.why = why
        self.work("drop", shutil.rmtree, self.place.into, True)

    def after_look(self, told: tuple[int, int, int]) -> None:
        rested = self.clock.monotonic() >= self.not_before_s
        match self.progress.judge(Found(*told), self.rules, rested=rested):
            case ("rest", _):
                self.on_rest()
            case ("fail", why):
                self._failed(why)
            case ("rewrite", _):
                self.progress.state = "rewriting"
                self.begun_s = self.clock.monotonic()
                self.tell("store", PlaceStore())

    def _copy(self, place: Place) -> None:
        if place.problem:
            self._failed(place.problem)
            return
        self.place, self.tool = place, Tool("rewriting")
        self.work("copy", self.tool.run, Order(place.store, place.into))

    def after_copy(self, told: dict[str, int]) -> None:
        assert self.place is not None
        self.tool = None
        self.tell("store", SwitchStore(self.place.into, told["seq"]))

    def _switched(self, done: Switched) -> None:
        if done.problem:
            self._failed(done.problem)
            return
        last = RewriteView(
            at=self._now_ms(),
            bytes_before=done.bytes_before,
            bytes_after=done.bytes_after,
            seconds=round(self.clock.monotonic() - self.begun_s, 3),
            pause_ms=round(done.took_ms, 1),
        )
        log.info("compaction.rewritten", bytes_before=last.bytes_before, bytes_after=last.bytes_after,
                 seconds=last.seconds, pause_ms=last.pause_ms)  # fmt: skip
        self.progress.rewritten(last)
        self.work("look", look, self.args.folder)

    def after_drop(self, _: None) -> None:
        self._failed(self.why)

    def _failed(self, why: str) -> None:
        log.error("compaction.failed", reason=why)
        pause = delay_s(
            self.progress.failures, self.rng, base_s=RETRY_BASE_S, cap_s=RETRY_CAP_S, at_least_s=30.0
        )
        self.not_before_s = self.clock.monotonic() + pause
        self.progress.failed(why)
        self.on_rest()
