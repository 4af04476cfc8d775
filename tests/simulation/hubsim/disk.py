"""The real disk with weather: it can be full, refuse one commit, or break, when a fault says so."""

import errno
from collections.abc import Sequence
from typing import Any

from agentcom.store.commits import Answer, Engine, Prepared
from agentcom.store.disk import Disk, Done, Figures, Settings
from agentcom.store.errors import StorageFull
from agentcom.store.messages import Committed, Failed, Open
from agentcom.store.transactions import WriteTransaction


class Weather:
    """What the disk is like now."""

    def __init__(self) -> None:
        self.full = self.broken = False
        self.map_full = False  #: full found out by the transaction, not by the look before it
        self.fail_next = 0
        self.seen: list[str] = []
        self.wrote = False
        self.writers: dict[int, int] = {}  #: journal seq to the incarnation that wrote it

    def clear(self) -> None:
        self.full = self.broken = self.map_full = False
        self.fail_next = 0


class WeatheredTransaction(WriteTransaction):
    """Finds no room when it commits."""

    __slots__ = ("weather",)

    def _commit(self) -> None:
        if self.weather.full and self.weather.map_full:
            self._txn.abort()
            raise StorageFull("the simulated disk is full")
        super()._commit()


class WeatheredEngine(Engine):
    """Refuses one commit as if it could not be written."""

    weather: Weather

    def _refusal(self, commit: Prepared, failed: dict[str, int], tight: bool) -> Failed | None:
        refusal = super()._refusal(commit, failed, tight)
        if refusal is None and self.weather.fail_next:
            self.weather.fail_next -= 1
            self.weather.seen.append("fail_commit")
            return Failed(commit.ticket, "failed", "the simulated disk refused it")
        return refusal


class WeatheredDisk(Disk):
    def __init__(self, settings: Settings, thread: Any, weather: Weather, clock: Any) -> None:
        super().__init__(settings, thread)
        self._weather, self._clock = weather, clock

    def open(self) -> Figures:
        figures = super().open()
        env, weather = self._env, self._weather
        self._engine = WeatheredEngine(env, now=self._clock.now, reserve=self._settings.reserve // 4)
        self._engine.weather = weather
        really = type(env).room

        def room(*, fresh: bool = False) -> int:
            return 0 if weather.full and not weather.map_full else really(env, fresh=fresh)

        def writing() -> WriteTransaction:
            transaction = WeatheredTransaction(env)
            transaction.weather = weather
            return transaction

        env.room, env.writing = room, writing  # type: ignore[method-assign]
        return figures

    def apply(self, items: Sequence[Prepared | Open]) -> Done:
        if self._weather.broken:
            self._weather.seen.append("break_disk")
            raise OSError(errno.EIO, "the simulated disk is broken")
        self._weather.wrote = True
        done = super().apply(items)
        for item, answer in zip(items, done.answers, strict=True):
            if isinstance(answer, Committed) and isinstance(item, Prepared):
                self._weather.writers[answer.seq] = item.incarnation
        codes: list[Answer] = [of for of in done.answers if getattr(of, "code", "") == "storage_full"]
        if codes:
            self._weather.seen.append("fill_disk")
        return done
