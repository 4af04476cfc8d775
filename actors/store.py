"""The one writer of the data folder: an actor's shell around agentcom.store.desk and agentcom.store.disk.

May import: agentcom.{core.messages, store, runtime}, actors.disk_thread.
"""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import msgspec
import structlog
from thespian.actors import ActorAddress

from actors.disk_thread import DiskThread, end_process
from agentcom.core.messages import Condition
from agentcom.runtime import BlockingDone, BlockingFailed, DaemonExecutor, when_idle
from agentcom.store import errands
from agentcom.store.desk import Desk, Item, Letter
from agentcom.store.disk import Disk, Done, Figures
from agentcom.store.messages import Commit, GetStatus, Open, PlaceStore, Switched, SwitchStore, Trim, Trimmed
from agentcom.store.preparing import prepare
from agentcom.store.settings import Settings

log = structlog.get_logger()


class StoreArgs(msgspec.Struct, frozen=True):
    disk: Settings
    max_queue: int = 50_000  #: above it `overloaded` is told, below half of it no more
    on_panic: Callable[[str], None] = end_process


class Gathered(msgspec.Struct, frozen=True):
    """From itself: nobody has more to commit for now."""

    def __str__(self) -> str:
        return "Gathered"


class StoreActor(DiskThread):
    soft_needs: ClassVar[tuple[str, ...]] = ("gateway",)

    def on_start(self, args: StoreArgs) -> None:
        self.disk = Disk(args.disk, DaemonExecutor(limit=1))
        self.desk = Desk(max_queue=args.max_queue, sync=args.disk.sync)
        self.told = Condition(self.name, {})
        self.begin_thread(self.disk.thread)
        self.run("open", self.disk.open)

    def on_message(self, msg: Any, sender: ActorAddress) -> None:
        match msg:
            case Commit():
                self._gather(sender, prepare(msg))
            case Open():
                self._gather(sender, msg)
            case Gathered():
                self._write()
            case PlaceStore() | SwitchStore() if not self.errands.stopping:
                self.run_for(sender, "rewrite", self.disk.rewrite, msg)
            case Trim() if self.errands.is_finishing:
                self.send(sender, Trimmed(0, 0, 0, "the store is stopping"))
            case Trim():
                self.run_for(sender, "trim", self.disk.trim, msg.upto_seq, msg.limit)
            case GetStatus():
                self.send(sender, self.desk.report())
            case BlockingDone() | BlockingFailed():
                self.ended(msg)

    def on_slow(self) -> None:
        log.error("store.stuck", seconds=errands.SLOW_S, queued=self.desk.figures().queued)
        self._post(self.desk.tell(stuck=True))

    def on_up(self, name: str, incarnation: int) -> None:
        self.tell("gateway", self.told)

    def on_stop(self) -> None:
        """Whoever commits stops before the store does: what is left is in the queue or on its way."""
        self.errands.stopping = True
        self._finish_when_idle()

    def keep_up(self) -> None:
        self.run("upkeep", self.disk.upkeep)

    def _gather(self, sender: ActorAddress, item: Item) -> None:
        self._post(self.desk.add(sender, item))
        if (when := self.desk.gather(item)) == "idle":
            when_idle(self, Gathered())
        elif when:
            self.send(self.myAddress, Gathered())

    def _write(self) -> None:
        if not self.errands.is_finishing and (batch := self.desk.take()):
            self.run("apply", self.disk.apply, batch)

    def after_open(self, figures: Figures) -> None:
        self.after_upkeep(figures)
        self.tell_gateway()
        self.ready()

    def after_apply(self, done: Done) -> None:
        letters = self.desk.settle(done)
        self._write()  # before the answers leave: the disk need not wait for them
        self._post(letters)
        self._finish_when_idle()

    def after_trim(self, letter: Letter) -> None:
        self._post([letter])

    def after_rewrite(self, letter: Letter) -> None:
        done = letter[1]
        if isinstance(done, Switched) and not done.problem:
            log.info("store.switched", took_ms=round(done.took_ms, 1), entries=done.entries)
        self._post([letter])

    def after_upkeep(self, figures: Figures) -> None:
        self._post(self.desk.kept(figures))

    def _finish_when_idle(self) -> None:
        if self.errands.stopping and self.desk.idle and not self.errands.is_finishing:
            self.run("finish", self.disk.finish)

    def after_finish(self, _: None) -> None:
        self.thread.shutdown(wait=False)
        self.stopped()

    def _post(self, letters: Iterable[Letter]) -> None:
        for address, message in letters:
            self.send(address, message)
        if turned := self.desk.turned():
            if turned == "full":
                log.error("store.full", reason=self.desk.why_full())
            elif turned == "roomy":
                log.info("store.has_room")
            self.tell_gateway()

    def tell_gateway(self) -> None:
        condition = Condition(self.name, *self.desk.said())
        if condition != self.told:
            self.told = condition
            self.tell("gateway", condition)
