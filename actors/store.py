"""The one writer of the data folder: an actor's shell around agentcom.store.desk and agentcom.store.disk.

May import: agentcom.{core.messages, exit_codes, store, runtime}, supervisors.base.
"""

import os
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import msgspec
import structlog
from thespian.actors import ActorAddress

from agentcom import exit_codes
from agentcom.core.messages import Condition
from agentcom.runtime import BlockingDone, BlockingFailed, DaemonExecutor, run_blocking, when_idle
from agentcom.store.desk import Desk, Item, Letter
from agentcom.store.disk import Disk, Done, Figures
from agentcom.store.errors import StoreError
from agentcom.store.messages import Commit, GetStatus, Open, PlaceStore, Switched, SwitchStore, Trim, Trimmed
from agentcom.store.preparing import prepare
from agentcom.store.settings import Settings
from supervisors.base import Supervised

log = structlog.get_logger()

SLOW_S, STUCK_S = 10, 60
TOLD_EVERY = 5
"""Seconds between two looks of the gateway at figures that change all the time."""


def end_process(reason: str) -> None:
    """Nothing can be written any more: end at once, so that the next start verifies what is on disk."""
    os._exit(exit_codes.STORE_PANIC)


class StoreArgs(msgspec.Struct, frozen=True):
    disk: Settings
    max_queue: int = 50_000  #: above it `overloaded` is told, below half of it no more
    on_panic: Callable[[str], None] = end_process


class Gathered(msgspec.Struct, frozen=True):
    """From itself: nobody has more to commit for now."""

    def __str__(self) -> str:
        return "Gathered"


class StoreActor(Supervised):
    soft_needs: ClassVar[tuple[str, ...]] = ("gateway",)

    def on_start(self, args: StoreArgs) -> None:
        self.disk = Disk(args.disk, DaemonExecutor(limit=1))
        self.desk = Desk(max_queue=args.max_queue, sync=args.disk.sync)
        self.gathering = self.keeping = self.stopping = self.finishing = False
        self.silent_s = self.seconds = 0
        self.rewriting = 0  #: requests of compaction that its thread has not answered
        self.trims: list[ActorAddress] = []  #: who waits for one, in order
        self.told, self.flags = Condition(self.name, {}), self.desk.flags
        self.opening = True
        self._run("open", self.disk.open)
        self.after(1.0, "second")

    def on_message(self, msg: Any, sender: ActorAddress) -> None:
        match msg:
            case Commit():
                self._gather(sender, prepare(msg))
            case Open():
                self._gather(sender, msg)
            case Gathered():
                self.gathering = False
                self._write()
            case PlaceStore() | SwitchStore() if not self.stopping:
                self.rewriting += 1
                self._run("rewrite", self._rewrite, sender, msg)
            case GetStatus():
                self.send(sender, self.desk.report())
            case Trim():
                self._trim(sender, msg)
            case BlockingDone(step, value):
                self.silent_s = 0
                getattr(self, f"_after_{step}")(value)
            case BlockingFailed("open", "StorageFull", text):
                self._no_room_to_start(text)
            case BlockingFailed(step, error, text):
                self._failed(step, f"{error}: {text}")

    def on_wakeup(self, payload: Any) -> None:
        """Each second: upkeep of the disk, and how long it has been silent."""
        self.after(1.0, payload)
        self.seconds += 1
        self.silent_s += self._at_work()
        if self.silent_s == SLOW_S:
            log.error("store.stuck", seconds=SLOW_S, queued=self.desk.figures().queued)
            self._post(self.desk.tell(stuck=True))
        elif self.silent_s == STUCK_S:
            self._failed("apply", f"the disk did not answer for {STUCK_S} s")
        if self.seconds % TOLD_EVERY == 0:
            self._tell_gateway()
        if not (self.keeping or self.stopping or self.opening):
            self.keeping = True
            self._run("upkeep", self.disk.upkeep)

    def on_up(self, name: str, incarnation: int) -> None:
        self.tell("gateway", self.told)

    def on_stop(self) -> None:
        """Whoever commits stops before the store does: what is left is in the queue or on its way."""
        self.stopping = True
        self._finish_when_idle()

    def _run(self, step: str, work: Callable[..., Any], *args: Any) -> None:
        run_blocking(self, work, *args, token=step, executor=self.disk.thread)

    def _gather(self, sender: ActorAddress, item: Item) -> None:
        self._post(self.desk.add(sender, item))
        if self.gathering or self.desk.writing:
            return
        self.gathering = True
        if self.desk.comes_alone(item):
            when_idle(self, Gathered())
        else:
            self.send(self.myAddress, Gathered())

    def _write(self) -> None:
        if not self.finishing and (batch := self.desk.take()):
            self._run("apply", self.disk.apply, batch)

    def _at_work(self) -> bool:
        busy = self.desk.writing or self.keeping or self.opening
        return busy or bool(self.trims) or self.rewriting > 0

    def _trim(self, sender: ActorAddress, ask: Trim) -> None:
        """Between two batches, as they have one thread."""
        if self.finishing:
            self.send(sender, Trimmed(0, 0, 0, "the store is stopping"))
        else:
            self.trims.append(sender)
            self._run("trim", self.disk.trim, ask.upto_seq, ask.limit)

    def _after_trim(self, done: Trimmed) -> None:
        self.send(self.trims.pop(0), done)

    def _after_open(self, figures: Figures) -> None:
        self.opening = False
        self._post(self.desk.kept(figures))
        self._tell_gateway()
        self.ready()

    def _after_apply(self, done: Done) -> None:
        letters = self.desk.settle(done)
        self._write()  # before the answers leave: the disk need not wait for them
        self._post(letters)
        self._finish_when_idle()

    def _rewrite(self, sender: ActorAddress, ask: PlaceStore | SwitchStore) -> Letter:
        """On the store's thread, in line with the batches: those that come meanwhile wait for it."""
        return sender, self.disk.rewrite(ask)

    def _after_rewrite(self, letter: Letter) -> None:
        self.rewriting -= 1
        if isinstance(letter[1], Switched) and not letter[1].problem:
            log.info("store.switched", took_ms=round(letter[1].took_ms, 1), entries=letter[1].entries)
        self._post([letter])

    def _after_upkeep(self, figures: Figures) -> None:
        self.keeping = False
        self._post(self.desk.kept(figures))

    def _after_finish(self, _: None) -> None:
        self.disk.thread.shutdown(wait=False)
        self.stopped()

    def _finish_when_idle(self) -> None:
        if self.stopping and self.desk.idle and not self.finishing:
            self.finishing = True
            self._run("finish", self.disk.finish)

    def _no_room_to_start(self, why: str) -> None:
        """A full disk is the world's doing and no crash: tried again with backoff, outside the restart budget."""
        log.error("store.full", reason=why)
        self.exit("aborted")

    def _failed(self, step: str, why: str) -> None:
        """A failing disk is no crash to restart from in this process: what it holds must be verified."""
        if step == "open":
            raise StoreError(why)
        log.critical("store.panicked", step=step, reason=why)
        self.args.on_panic(why)
        self.exit(why)

    def _post(self, letters: Iterable[Letter]) -> None:
        for address, message in letters:
            self.send(address, message)
        if self.desk.flags is not self.flags:
            self._flags_changed()

    def _flags_changed(self) -> None:
        was_full, self.flags = self.flags.full, self.desk.flags
        if self.flags.full and not was_full:
            log.error("store.full", reason=self.desk.why_full())
        elif was_full and not self.flags.full:
            log.info("store.has_room")
        self._tell_gateway()

    def _tell_gateway(self) -> None:
        condition = Condition(self.name, *self.desk.said())
        if condition != self.told:
            self.told = condition
            self.tell("gateway", condition)
