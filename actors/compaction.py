"""Removes what is old, then has the store's file rewritten if that is worth it: a shell around
`agentcom.core.compaction`.

It asks the writers of the rows, one after the other and a slice at a time, with a pause in between: their own requests
wait behind one slice at most.
May import: agentcom.{core, runtime, store}, actors.file_rewriter.
"""

from typing import Any, ClassVar

import msgspec
import structlog

from actors.file_rewriter import FileRewriter
from agentcom.core.clock_trust import DAY_MS, ClockTrust, longest_leap_ms
from agentcom.core.compaction import JOURNAL, STOPS, RewriteRules
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
from agentcom.store.messages import Place, Switched, Trim, Trimmed
from agentcom.store.tidying import leap_of, look, trimmable_of

log = structlog.get_logger()

PAUSE_S = 0.05
"""Between two slices."""
ANSWER_S = 60.0


class CompactionArgs(msgspec.Struct, frozen=True):
    folder: str
    keep: Keep
    journal_s: float
    rules: RewriteRules
    every_s: float
    slice: int


class CompactionActor(FileRewriter):
    soft_needs: ClassVar[tuple[str, ...]] = ("gateway", "archive", "snapshots", *STOPS[:-1])

    def on_start(self, args: CompactionArgs) -> None:
        self.begin_rewriter(args.rules)
        self.archived = 0
        self.ready()
        self.trust: ClockTrust | None = None
        self._look_at_the_clock()

    def _look_at_the_clock(self) -> None:
        self.work("leap", leap_of, self.args.folder, self._now_ms(), DAY_MS)

    def after_leap(self, leapt_ms: int) -> None:
        longest_ms = longest_leap_ms(self.args.keep)
        self.trust = ClockTrust(longest_ms, self._now_ms(), self.clock.monotonic(), leapt_ms)
        self.work("look", look, self.args.folder)

    def on_stop(self) -> None:
        self.on_crash()
        self.stopped()

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
            case Place() | Switched():
                self.placed(msg)

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

    def on_failure(self, step: str, error: str, why: str) -> None:
        if step == "copy" and self.place is not None:
            self.copy_failed(why)
        elif step == "trim":  # a row that cannot be read is verify's to report
            log.error("compaction.untrimmed", reason=why)
            self._skip(silent=True)
        elif step == "leap" and error == "CorruptRow":  # likewise
            self.after_leap(0)
        elif error == "StoreClosed":
            self.on_rest()
        else:
            raise RuntimeError(f"{step}: {error}: {why}")

    def on_rest(self) -> None:
        self.progress.state = "idle"
        view = self.progress.view()
        self.say(msgspec.to_builtins(view), *self.progress.alerts())
        if self.progress.is_wanted:  # asked for while this was going on
            self._begin()
        else:
            self._rest()
