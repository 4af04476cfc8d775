"""The store's own thread: everything of it that may block, in order, one call at a time.

Lives here: opening, applying batches, trimming, the once-a-second upkeep, and the orderly end. The actor submits these
to `Disk.thread` and never calls them itself.
May import: agentcom.store.*.
"""

import time
from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path

import msgspec

from agentcom.store import switching
from agentcom.store.commits import Answer, Engine, Prepared
from agentcom.store.env import RESERVE, Environment, open_environment, opened
from agentcom.store.errors import StorageFull, SupersededStore
from agentcom.store.messages import Open, Place, PlaceStore, Switched, SwitchStore, Trimmed
from agentcom.store.trimming import trim


class Settings(msgspec.Struct, frozen=True):
    """Where and how to store."""

    folder: str
    sync: bool = True  #: False: fsync once a second, so a power cut may take the last second
    max_bytes: int = 0  #: of the store's file; 0 is as large as the disk
    reserve: int = RESERVE  #: `full` is told when less room than this is left


class Figures(msgspec.Struct, frozen=True):
    """What one batch or upkeep found."""

    full: bool
    took_ms: float = 0.0


class Done(msgspec.Struct, frozen=True):
    answers: tuple[Answer, ...]
    figures: Figures


class Disk:
    """One open store and its thread. A store actor's life is one Disk; the environment may outlive it."""

    def __init__(self, settings: Settings, thread: Executor) -> None:
        self.thread = thread  #: exactly one: LMDB hangs for ever if a transaction changes threads
        self._settings = settings
        self._refused = False  #: a write found no room since the last successful probe
        self._upkeeps = 0
        self._placed = ""  #: the folder that a copy of the store may be in

    def open(self) -> Figures:
        """Open the folder, or take over the environment that a crashed store actor left in this process."""
        settings = self._settings
        folder = Path(settings.folder)
        env = opened(folder)
        if env is None:
            env = open_environment(folder, max_bytes=settings.max_bytes, sync=settings.sync)
        else:
            env.begin_life()
        self._env: Environment = env
        self._life = env.life
        self._engine = Engine(env, reserve=settings.reserve // 4)
        return Figures(self._full())

    def apply(self, items: Sequence[Prepared | Open]) -> Done:
        begun = time.perf_counter()
        answers = tuple(self._engine.apply(items))
        self._refused |= any(getattr(answer, "code", "") == "storage_full" for answer in answers)
        return Done(answers, Figures(self._full(), (time.perf_counter() - begun) * 1000))

    def trim(self, upto_seq: int, limit: int) -> Trimmed:
        """See agentcom.store.trimming; that there is no room to delete is an answer."""
        if self._env.life != self._life:
            raise SupersededStore(f"life {self._env.life} began after {self._life}")
        try:
            return trim(self._env, upto_seq, limit)
        except StorageFull as error:
            self._refused = True
            return Trimmed(0, 0, 0, f"no room to write: {error}")

    def upkeep(self) -> Figures:
        """Once a second: is there room again, does an interval end, did readers die?"""
        self._upkeeps += 1
        if not self._settings.sync:
            self._env.flush()
        self._env.look()
        if self._upkeeps % 60 == 0:
            self._env.clear_stale_readers()
        switching.sweep(self._env)
        if self._refused:
            self._probe()
        return Figures(self._full(fresh=True))

    def rewrite(self, ask: PlaceStore | SwitchStore) -> Place | Switched:
        """What compaction asks for. Only the folder given last can take the store's place."""
        if isinstance(ask, PlaceStore):
            return self._place()
        if ask.folder != self._placed or self._env.closed:
            return Switched("the store has another copy in mind by now")
        self._placed = ""
        return switching.switch(self._env, ask, self._life)

    def _place(self) -> Place:
        self._placed = ""
        try:
            given = switching.place(self._env)
        except OSError as error:
            return Place("", "", f"no folder for the copy: {error}")
        self._placed = given.into
        return given

    def finish(self) -> None:
        """The last write is the clean mark; then the folder is free for the next hub.

        A store actor that did not live to see this may have a successor by now, whose environment it is.
        """
        if self._env.life != self._life:
            return
        try:
            self._env.mark_clean()
        except StorageFull:
            pass  # it only costs the next start its quick check
        finally:
            self._env.close()

    def _probe(self) -> None:
        try:
            self._env.probe()
        except StorageFull:
            return
        self._refused = False

    def _full(self, *, fresh: bool = False) -> bool:
        return self._refused or self._env.room(fresh=fresh) < self._settings.reserve
