"""The store's file is written anew when that is worth it: the half of compaction's shell that is about the file.

The rewrite is described in `agentcom.store.rewriting` and `agentcom.store.switching`.
May import: agentcom.{core, runtime, store}, actors.maintainer.
"""

import random
import shutil

import structlog

from actors.maintainer import Maintainer
from agentcom.backoff import delay_s
from agentcom.core.compaction import Found, RewriteRules
from agentcom.core.compaction_state import Next, Progress
from agentcom.protocol.upkeep_views import RewriteView
from agentcom.runtime import clock_of
from agentcom.store.child import Tool
from agentcom.store.messages import Place, PlaceStore, Switched, SwitchStore
from agentcom.store.rewriting import Order
from agentcom.store.tidying import look

log = structlog.get_logger()

RETRY_BASE_S, RETRY_CAP_S = 60.0, 3_600.0


class FileRewriter(Maintainer):
    """Carries out what `progress` says: `do_STEP` for each step, of which a subclass has the others."""

    tool: Tool | None = None  #: of the class, as it may crash before it was started

    def begin_rewriter(self, rules: RewriteRules) -> None:
        self.rules = rules
        self.tool = None
        self.progress = Progress()
        self.clock = clock_of(self)
        self.rng = random.Random()  # noqa: S311  # jitter of a pause

    def on_crash(self) -> None:
        if self.tool is not None:
            self.tool.stop()

    def do(self, of: Next) -> None:
        getattr(self, f"do_{of.step}")(of)

    def do_wait(self, _: Next) -> None:
        """For an answer, or for a time that is set."""

    def do_look(self, _: Next) -> None:
        self.work("look", look, self.args.folder)

    def after_look(self, told: tuple[int, int, int]) -> None:
        self.do(self.progress.looked(Found(*told), self.rules, self.clock.monotonic()))

    def do_place(self, _: Next) -> None:
        self.tell("store", PlaceStore())

    def placed(self, place: Place) -> None:
        self.do(self.progress.placed(place.problem, place.store, place.into))

    def do_copy(self, _: Next) -> None:
        copy, self.tool = self.progress.copy, Tool("rewriting")
        self.work("copy", self.tool.run, Order(copy.store, copy.into))

    def after_copy(self, told: dict[str, int]) -> None:
        self.tool = None
        self.do(self.progress.copied(told["seq"]))

    def do_switch(self, _: Next) -> None:
        self.tell("store", SwitchStore(self.progress.copy.into, self.progress.copy.seq))

    def switched(self, done: Switched) -> None:
        rewrite = RewriteView(
            at=self._now_ms(),
            bytes_before=done.bytes_before,
            bytes_after=done.bytes_after,
            seconds=round(self.clock.monotonic() - self.progress.begun_s, 3),
            pause_ms=round(done.took_ms, 1),
        )
        self.do(self.progress.switched(done.problem, rewrite))

    def do_rewritten(self, of: Next) -> None:
        last = self.progress.last
        assert last is not None
        log.info("compaction.rewritten", bytes_before=last.bytes_before, bytes_after=last.bytes_after,
                 seconds=last.seconds, pause_ms=last.pause_ms)  # fmt: skip
        self.do_look(of)

    def copy_failed(self, why: str) -> None:
        self.tool = None
        self.do(self.progress.copy_failed(why))

    def do_drop(self, _: Next) -> None:
        self.work("drop", shutil.rmtree, self.progress.copy.into, True)

    def after_drop(self, _: None) -> None:
        self.do(self.progress.dropped())

    def do_fail(self, of: Next) -> None:
        log.error("compaction.failed", reason=of.why)
        failures = self.progress.failures
        pause_s = delay_s(failures, self.rng, base_s=RETRY_BASE_S, cap_s=RETRY_CAP_S, at_least_s=30.0)
        self.do(self.progress.failed(of.why, self.clock.monotonic() + pause_s))

    def _now_ms(self) -> int:
        return int(self.clock.now() * 1000)
