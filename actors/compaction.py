"""Removes what is old and rewrites the store's file when that is worth it: a shell around `agentcom.core.compaction`.

It asks the writers of the rows, one after the other and a slice at a time, with a pause in between: their own requests
wait behind one slice at most. The rewrite is described in `agentcom.store.rewriting` and `agentcom.store.switching`.
May import: agentcom.{core, runtime, store}, actors.maintainer.
"""

import random
import shutil
from typing import Any, ClassVar

import msgspec
import structlog

from actors.maintainer import Maintainer
from agentcom.backoff import delay_s
from agentcom.core.clock_trust import DAY_MS, ClockTrust, longest_leap_ms
from agentcom.core.compaction import JOURNAL, STOPS, Found, Progress, RewriteRules
from agentcom.core.messages import (
    Archived,
    AskArchived,
    AskSnapshotted,
    Expire,
    Expired,
    Keep,
    Maintain,
    Reply,
    Snapshotted,
)
from agentcom.protocol.upkeep_views import RewriteView
from agentcom.runtime import clock_of
from agentcom.store.child import Tool
from agentcom.store.messages import Place, PlaceStore, Switched, SwitchStore, Trim, Trimmed
from agentcom.store.rewriting import Order
from agentcom.store.tidying import leap_of, look, trimmable_of

log = structlog.get_logger()

PAUSE_S = 0.05
"""Between two slices."""
ANSWER_S = 60.0
RETRY_BASE_S, RETRY_CAP_S = 60.0, 3_600.0


class CompactionArgs(msgspec.Struct, frozen=True):
    folder: str
    keep: Keep
    journal_s: float
    rules: RewriteRules
    every_s: float
    slice: int


class CompactionActor(Maintainer):
    soft_needs: ClassVar[tuple[str, ...]] = ("gateway", "archive", "snapshots", *STOPS[:-1])
    tool: Tool | None = None  #: of the class, as it may crash before it was started

    def on_start(self, args: CompactionArgs) -> None:
        self.tool: Tool | None = None
        self.progress = Progress()
        self.clock = clock_of(self)
        self.rng = random.Random()  # noqa: S311  # jitter of a pause
        self.not_before_s = 0.0  #: a rewrite that failed is not tried again by itself before
        self.archived = 0
        self.place: Place | None = None
        self.ready()
        self.trust: ClockTrust | None = None
        self._look_at_the_clock()

    def _now_ms(self) -> int:
        return int(self.clock.now() * 1000)

    def _look_at_the_clock(self) -> None:
        self.work("leap", leap_of, self.args.folder, self._now_ms(), DAY_MS)

    def after_leap(self, leapt_ms: int) -> None:
        longest_ms = longest_leap_ms(self.args.keep)
        self.trust = ClockTrust(longest_ms, self._now_ms(), self.clock.monotonic(), leapt_ms)
        self.work("look", look, self.args.folder)

    def on_stop(self) -> None:
        self.on_crash()
        self.stopped()

    def on_crash(self) -> None:
        if self.tool is not None:
            self.tool.stop()

    def on_time(self, payload: Any) -> None:
        kind, number = payload
        if number != self.progress.number:
            return  # of a question that was answered
        if kind == "late":
            self._skip(silent=True)
        elif kind == "next":
            self._ask()
        elif not self.working and self.progress.state == "idle":
            self._begin()

    def on_down(self, name: str) -> None:
        if name == self.progress.at:
            self._skip()

    def on_ask(self, ask: Maintain) -> None:
        """A rewrite that is under way is the one that was wanted."""
        progress = self.progress
        if ask.verb == "compaction.run" and not progress.is_wanted:
            progress.asked += 1
            if progress.state == "idle" and not self.working:
                self._begin()
        self.answer(ask, progress.view())

    def on_news(self, msg: Any, sender: Any) -> None:
        match msg:
            case Expired(number, removed, more) if number == self.progress.number:
                self._answered(removed, more=more)
            case Reply(number, Archived(seq)) if number == self.progress.number:
                self.archived = seq
                self._put("snapshots", AskSnapshotted(reply_to=self.myAddress, request=self.progress.ask()))
            case Reply(number, Snapshotted(seq=seq)) if number == self.progress.number and not self.working:
                self._look_at_the_journal(seq)
            case Trimmed() if self.progress.at == JOURNAL:
                self._answered(msg.gone, more=bool(msg.left and msg.gone))
            case Reply(number, _) if number == self.progress.number:
                self._skip()  # whom it asks is just restarting
            case Place() if self.progress.state == "rewriting":
                self._copy(msg)
            case Switched() if self.progress.state == "rewriting":
                self._switched(msg)

    # --- a round -------------------------------------------------------------------------------------

    def _rest(self) -> None:
        self.after(self.args.every_s, ("round", self.progress.number))

    def _begin(self) -> None:
        if self.trust is None:  # the store was closed when it was to be looked at
            self._look_at_the_clock()
            return
        held = self.trust.held(self._now_ms(), self.clock.monotonic())
        if held and not self.progress.held:
            log.error("compaction.held", reason=held)
        self.progress.begin(held)
        self._ask()

    def _ask(self) -> None:
        """The next slice of whose turn it is; after the last one's, a look at the file."""
        at, number = self.progress.at, self.progress.ask()
        if not at:
            self.work("look", look, self.args.folder)
        elif at == JOURNAL:
            self._put("archive", AskArchived(reply_to=self.myAddress, request=number))
        else:
            self._put(at, Expire(self.myAddress, number, self.args.keep, self.args.slice))

    def _put(self, name: str, question: Any) -> None:
        if self.tell(name, question):
            self.after(ANSWER_S, ("late", self.progress.number))
        else:
            self._skip()

    def _skip(self, *, silent: bool = False) -> None:
        self.progress.skip(silent=silent)
        self._ask()

    def _answered(self, removed: int, *, more: bool) -> None:
        self.progress.answered(removed, more=more)
        self.after(PAUSE_S, ("next", self.progress.number))

    def _look_at_the_journal(self, snapshot: int) -> None:
        args = self.args
        self.work("trim", trimmable_of, args.folder, self.archived, snapshot, self._now_ms(), args.journal_s)

    def after_trim(self, upto_seq: int) -> None:
        self.tell("store", Trim(upto_seq, self.args.slice * 5))

    # --- the file ------------------------------------------------------------------------------------

    def after_look(self, told: tuple[int, int, int]) -> None:
        rested = self.clock.monotonic() >= self.not_before_s
        match self.progress.judge(Found(*told), self.args.rules, rested=rested):
            case ("rest", _):
                self._end_round()
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

    def on_failure(self, step: str, error: str, why: str) -> None:
        """A copy that failed is removed at once: it may be what fills the disk."""
        if step == "copy" and self.place is not None:
            self.tool = None
            self.why = why
            self.work("drop", shutil.rmtree, self.place.into, True)
        elif step == "trim":  # a row that cannot be read is verify's to report
            log.error("compaction.untrimmed", reason=why)
            self._skip(silent=True)
        elif step == "leap" and error == "CorruptRow":  # likewise
            self.after_leap(0)
        elif error == "StoreClosed":
            self._end_round()
        else:
            raise RuntimeError(f"{step}: {error}: {why}")

    def after_drop(self, _: None) -> None:
        self._failed(self.why)

    def _failed(self, why: str) -> None:
        log.error("compaction.failed", reason=why)
        pause = delay_s(
            self.progress.failures, self.rng, base_s=RETRY_BASE_S, cap_s=RETRY_CAP_S, at_least_s=30.0
        )
        self.not_before_s = self.clock.monotonic() + pause
        self.progress.failed(why)
        self._end_round()

    def _end_round(self) -> None:
        self.progress.state = "idle"
        view = self.progress.view()
        self.say(msgspec.to_builtins(view), *self.progress.alerts())
        if self.progress.is_wanted:  # asked for while this was going on
            self._begin()
        else:
            self._rest()
