"""ThespianWatch on an asyncio loop: readable files become WatchMessages. Imports cells."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from thespian.actors import WatchMessage

if TYPE_CHECKING:
    from agentcom.runtime.cell import Cell


class Watches:
    """A file that became readable is not looked at again until its actor has handled something.

    Loops report readable files over and over; without this pause the mailbox would fill with one event.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._armed: dict[Cell, set[int]] = {}
        self._fired: dict[Cell, WatchMessage] = {}

    def set(self, cell: Cell, filenos: list[int]) -> None:
        wanted = set(filenos)
        waiting = self._fired.get(cell)
        if waiting is not None:
            waiting.ready = [fileno for fileno in waiting.ready if fileno in wanted]
            wanted -= set(waiting.ready)
        armed = self._armed.pop(cell, set())
        for fileno in armed - wanted:
            self._loop.remove_reader(fileno)
        for fileno in wanted - armed:
            self._loop.add_reader(fileno, self._readable, cell, fileno)
        if wanted:
            self._armed[cell] = wanted

    def delivered(self, cell: Cell) -> None:
        self._fired.pop(cell, None)

    def forget(self, cell: Cell) -> None:
        if cell in self._armed:
            self.set(cell, [])
        self._fired.pop(cell, None)

    def clear(self) -> None:
        for cell in list(self._armed):
            self.set(cell, [])
        self._fired.clear()

    def _readable(self, cell: Cell, fileno: int) -> None:
        self._loop.remove_reader(fileno)
        self._armed[cell].discard(fileno)
        waiting = self._fired.get(cell)
        if waiting is None:
            waiting = self._fired[cell] = WatchMessage([])
            cell.put(waiting, cell.address)
        waiting.ready.append(fileno)
