"""Makes a snapshot when one is due or an operator wants one: a shell around `agentcom.store.snapshotting`.

May import: agentcom.{core, runtime, store}, actors.maintainer.
"""

from pathlib import Path
from typing import Any

import structlog
from msgspec import Struct
from msgspec.structs import replace

from actors.maintainer import Maintainer
from agentcom.core.messages import AskSnapshotted, Fault, Maintain, Reply, Snapshotted
from agentcom.runtime import clock_of
from agentcom.store import Reader, handle
from agentcom.store import snapshot_schedule as schedule
from agentcom.store.child import Tool
from agentcom.store.layout import Layout
from agentcom.store.snapshotting import Failed, Made, Order, run

log = structlog.get_logger()

LOOK_S = 5.0
"""Between two looks at the clock."""
BUSY = Fault("unavailable", "the hub is stopping; nothing of this snapshot is kept", retry_after_ms=5_000)


class SnapshotArgs(Struct, frozen=True):
    data: str
    rules: schedule.Rules
    order: Order  #: its `store` is filled in at each run: the folder in force changes


class SnapshotActor(Maintainer):
    def on_start(self, args: SnapshotArgs) -> None:
        self.wanted: list[Maintain] = []  #: wait for the snapshot under way, or for the next one
        self.lists: list[Maintain] = []  #: wait for a look at the folder
        self.tool: Tool | None = None
        self.reader = Reader(handle(Path(args.data)))
        self.clock = clock_of(self)
        self.known = schedule.Known(folder=args.order.into, started_ms=self._now_ms())
        self.ready()
        self.on_time(None)

    def on_time(self, payload: Any) -> None:
        self.after(min(LOOK_S, self.args.rules.first_s, self.args.rules.every_s), payload)
        self._tell()
        self._go_on()

    def on_ask(self, ask: Maintain) -> None:
        """What is wanted while one is being made is answered with that one."""
        (self.wanted if ask.verb == "snapshot.make" else self.lists).append(ask)
        self._go_on()

    def on_news(self, msg: Any, sender: Any) -> None:
        if isinstance(msg, AskSnapshotted):
            self.send(msg.reply_to, Reply(msg.request, Snapshotted(*self.known.promised)))

    def on_stop(self) -> None:
        """What is half made is removed by the next run."""
        self.on_crash()
        self.stopped()

    def on_crash(self) -> None:
        if self.tool is not None:
            self.tool.stop()
        self._answer(self.wanted, BUSY)
        self._answer(self.lists, BUSY)

    def _go_on(self) -> None:
        busy, wanted, listing = bool(self.working), bool(self.wanted), bool(self.lists)
        now_ms, rules = self._now_ms(), self.args.rules
        match schedule.next_step(self.known, rules, now_ms, busy=busy, wanted=wanted, listing=listing):
            case "list":
                self._answer_lists()
            case "look":
                self.work("look", schedule.look, self.reader, Path(self.known.folder), self._archive())
            case "make":
                self._make()

    def _archive(self) -> Path | None:
        return Path(self.args.order.archive) if self.args.order.archive else None

    def _make(self) -> None:
        self.known = schedule.begun(self.known)
        self.tool = Tool("snapshotting")
        order = replace(self.args.order, store=str(Layout(Path(self.args.data)).store))
        self.work("make", run, self.tool, order)
        self._tell()

    def after_look(self, seen: schedule.Seen) -> None:
        self.known = schedule.saw(self.known, seen)
        self._answer_lists()
        self._tell()
        self._go_on()

    def after_make(self, done: Made | Failed) -> None:
        self.tool = None
        if isinstance(done, Made):
            self._made(done)
        else:
            self._failed(schedule.failed(self.known, done.why, self._now_ms()))
        self._go_on()

    def on_failure(self, step: str, error: str, why: str) -> None:
        if step == "look" and error == "StoreClosed":
            return  # it starts again; so does the next look
        self.tool = None
        self._failed(schedule.lost(self.known, why, self._now_ms()))
        self._answer_lists()

    def _made(self, done: Made) -> None:
        log.info(
            "snapshot.made", snapshot=done.path, bytes=done.manifest.bytes, seconds=round(done.seconds, 1),
            renewed=done.renewed, removed=len(done.removed), segments_removed=done.segments, problem=done.problem,
        )  # fmt: skip
        self.known = schedule.succeeded(self.known, done)
        self._answer(self.wanted, schedule.made(done), 201)

    def _failed(self, known: schedule.Known) -> None:
        self.known, why = known, known.problem
        log.error("snapshot.failed", folder=known.folder, reason=why)
        self._answer(self.wanted, Fault("unavailable", f"there is no new snapshot: {why}"))
        self._tell()

    def _answer_lists(self) -> None:
        self._answer(self.lists, schedule.listed(self.known, self.args.rules, self._now_ms()))

    def _answer(self, asks: list[Maintain], body: Any, status: int = 200) -> None:
        for ask in asks:
            self.send(ask.reply_to, Reply(ask.request, body, status))
        asks.clear()

    def _tell(self) -> None:
        now_ms = self._now_ms()
        self.report_condition(
            schedule.facts(self.known, self.args.rules, now_ms),
            *schedule.alerts(self.known, self.args.rules, now_ms),
        )

    def _now_ms(self) -> int:
        return int(self.clock.now() * 1000)
