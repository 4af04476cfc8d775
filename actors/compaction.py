"""Removes what is old, then has the store's file rewritten if that is worth it: a shell around
`agentcom.core.compaction_state`.

It asks the writers of the rows, one after the other and a slice at a time, with a pause in between: their own requests
wait behind one slice at most.
May import: agentcom.{core, runtime, store}, actors.file_rewriter.
"""

from typing import Any, ClassVar

import msgspec
import structlog

from actors.file_rewriter import FileRewriter
from agentcom.core.clock_trust import DAY_MS, ClockTrust, longest_leap_ms
from agentcom.core.compaction import STOPS, RewriteRules
from agentcom.core.compaction_state import Next
from agentcom.core.messages import AskArchived, AskSnapshotted, Expire, Expired, Keep, Maintain, Reply
from agentcom.store.messages import Place, Switched, Trim, Trimmed
from agentcom.store.tidying import leap_of, trimmable_of

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
        self.trust: ClockTrust | None = None
        self.ready()
        self.do(self.progress.begin(None))

    def on_stop(self) -> None:
        self.on_crash()
        self.stopped()

    def on_time(self, payload: Any) -> None:
        self.do(self.progress.due(*payload))

    def on_down(self, name: str) -> None:
        self.do(self.progress.down(name))

    def on_ask(self, ask: Maintain) -> None:
        if ask.verb == "compaction.run":
            self.do(self.progress.want())
        self.answer(ask, self.progress.view())

    def on_news(self, msg: Any, sender: Any) -> None:
        match msg:
            case Expired(number):
                self.do(self.progress.heard(number, msg))
            case Reply(number, body):
                self.do(self.progress.heard(number, body))
            case Trimmed():
                self.do(self.progress.trimmed(msg.gone, msg.left))
            case Place():
                self.placed(msg)
            case Switched():
                self.switched(msg)

    # --- steps of a round --------------------------------------------------------------------------

    def do_leap(self, _: Next) -> None:
        self.work("leap", leap_of, self.args.folder, self._now_ms(), DAY_MS)

    def after_leap(self, leapt_ms: int) -> None:
        longest_ms = longest_leap_ms(self.args.keep)
        self.trust = ClockTrust(longest_ms, self._now_ms(), self.clock.monotonic(), leapt_ms)
        self.do(self.progress.leapt())

    def do_begin(self, _: Next) -> None:
        held = self.trust.held(self._now_ms(), self.clock.monotonic()) if self.trust else None
        if held and not self.progress.held:
            log.error("compaction.held", reason=held)
        self.do(self.progress.begin(held))

    def do_ask(self, of: Next) -> None:
        number, args = self.progress.number, self.args
        question: Any = Expire(self.myAddress, number, args.keep, args.slice)
        if of.to == "archive":
            question = AskArchived(reply_to=self.myAddress, request=number)
        elif of.to == "snapshots":
            question = AskSnapshotted(reply_to=self.myAddress, request=number)
        if self.tell(of.to, question):
            self.after(ANSWER_S, ("late", number))
        else:
            self.do(self.progress.skip())

    def do_pause(self, _: Next) -> None:
        self.after(PAUSE_S, ("next", self.progress.number))

    def do_trim(self, _: Next) -> None:
        args, of = self.args, self.progress
        self.work("trim", trimmable_of, args.folder, of.archived, of.snapshot, self._now_ms(), args.journal_s)

    def after_trim(self, upto_seq: int) -> None:
        self.tell("store", Trim(upto_seq, self.args.slice * 5))

    def do_rest(self, _: Next) -> None:
        self.report_condition(msgspec.to_builtins(self.progress.view()), *self.progress.alerts())
        self.do(self.progress.rested())

    def do_sleep(self, _: Next) -> None:
        self.after(self.args.every_s, ("round", self.progress.number))

    def on_failure(self, step: str, error: str, why: str) -> None:
        if step == "copy":
            self.copy_failed(why)
        elif step == "trim":  # a row that cannot be read is verify's to report
            log.error("compaction.untrimmed", reason=why)
            self.do(self.progress.skip(silent=True))
        elif step == "leap" and error == "CorruptRow":  # likewise
            self.after_leap(0)
        elif error == "StoreClosed":
            self.do(self.progress.closed())
        else:
            raise RuntimeError(f"{step}: {error}: {why}")
