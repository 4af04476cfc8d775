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
from agentcom.store.ballast import Ballast
from agentcom.store.commits import Answer, Engine
from agentcom.store.env import Environment
from agentcom.store.errors import StorageFull, SupersededStore
from agentcom.store.layout import Layout
from agentcom.store.messages import Open, Place, PlaceStore, Switched, SwitchStore, Trimmed
from agentcom.store.opening import open_store
from agentcom.store.preparing import Prepared
from agentcom.store.settings import Settings
from agentcom.store.trimming import trim

__all__ = ["Disk", "Done", "Figures", "Settings", "Space", "needed"]


class Space(msgspec.Struct, frozen=True):
    """What there is, in bytes."""

    file: int = 0
    free: int = 0  #: in the file, to be written again
    room: int = 0  #: until nothing more can be written
    needed: int = 0  #: with less room than this `full` is told
    ballast: int = 0
    given_up: bool = False  #: the ballast was, and there is no room yet to make it again
    of_limit: bool = False  #: what ends first is `max_bytes`, not the disk
    problem: str = ""  #: why the ballast cannot be made


class Figures(msgspec.Struct, frozen=True):
    """What one batch or upkeep found."""

    full: bool
    took_ms: float = 0.0
    space: Space | None = None  #: None: as it was


class Done(msgspec.Struct, frozen=True):
    answers: tuple[Answer, ...]
    figures: Figures


def needed(reserve: int, ballast: Ballast, useless: int = 0) -> int:
    """The least room with which new work is taken. A ballast that was given up must fit again first: what it left is
    for deletes, and for a rewrite of the file. `useless` is what a write could not use of the room there was.
    """
    return (max(reserve, ballast.needs) if ballast.given_up else reserve) + useless


class Disk:
    """One open store and its thread. A store actor's life is one Disk; the environment may outlive it."""

    def __init__(self, settings: Settings, thread: Executor) -> None:
        self.thread = thread  #: exactly one: LMDB hangs for ever if a transaction changes threads
        self._settings = settings
        self._refused = False  #: a write found no room since the last successful probe
        self._useless = 0  #: free pages that were of no use to it: scattered, or still seen by a reader
        self._upkeeps = 0
        self._placed = ""  #: the folder that a copy of the store may be in

    def open(self) -> Figures:
        """Open the folder, or take over the environment that a crashed store actor left in this process."""
        self._env: Environment = open_store(self._settings)
        self._life = self._env.life
        self._ballast = Ballast(Layout(Path(self._settings.folder)).ballast, self._settings.ballast)
        self._engine = Engine(self._env, reserve=self._for_deletes(), make_room=self._make_room)
        return self._figures()

    def apply(self, items: Sequence[Prepared | Open]) -> Done:
        begun = time.perf_counter()
        answers = tuple(self._engine.apply(items))
        if any(getattr(answer, "code", "") == "storage_full" for answer in answers):
            self._refused = True
            self._useless = max(0, min(self._env.free_bytes() // 2, self._env.room(fresh=True)))
        took_ms = (time.perf_counter() - begun) * 1000
        full = self._full()
        space = self._space() if full else None  # while it is full there is little else to do
        return Done(answers, Figures(full, took_ms, space))

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
        self._ballast.tend(self._env.disk_room())
        self._engine.reserve = self._for_deletes()
        return self._figures()

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

    # --- room --------------------------------------------------------------------------------------

    def _make_room(self) -> bool:
        """For one more try: the ballast, and the pages that were only kept for the last checkpoints."""
        self._ballast.give_up()
        self._engine.reserve = self._for_deletes()
        self._env.reuse_pages()
        self._env.room(fresh=True)
        return True

    def _for_deletes(self) -> int:
        """Of what the ballast left, half may still take what was adopted before `full` was told."""
        return self._settings.reserve // 4 + (self._settings.ballast // 2 if self._ballast.given_up else 0)

    def _probe(self) -> None:
        try:
            self._env.probe()
        except StorageFull:
            return
        if self._env.room(fresh=True) >= self._needed:
            self._refused, self._useless = False, 0

    def _full(self, *, fresh: bool = False) -> bool:
        return self._refused or self._env.room(fresh=fresh) < self._needed

    @property
    def _needed(self) -> int:
        return needed(self._settings.reserve, self._ballast, self._useless)

    def _figures(self) -> Figures:
        return Figures(self._full(fresh=True), space=self._space())

    def _space(self) -> Space:
        env, ballast = self._env, self._ballast
        left = env.max_bytes - env.file_bytes()
        return Space(
            file=env.file_bytes(),
            free=env.free_bytes(),
            room=env.room(),
            needed=self._needed,
            ballast=ballast.bytes,
            given_up=ballast.given_up,
            of_limit=bool(env.max_bytes) and left < env.disk_room(),
            problem=ballast.problem,
        )
