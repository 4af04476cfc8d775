"""ThespianWatch on an asyncio loop: readable files become WatchMessages. Imports cells.

What the loop watches is a duplicate of the actor's descriptor, because libuv aborts the process when a watched
descriptor is closed before its next poll, and an actor's slip must not do that.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from thespian.actors import WatchMessage

if TYPE_CHECKING:
    from agentcom.runtime.cell import Cell


class Watches:
    """A file that became readable is not looked at again until its actor has handled the news.

    Loops report readable files over and over; without this pause the mailbox would fill with one event.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._armed: dict[Cell, dict[int, int]] = {}  # the actor's descriptor -> ours
        self._fired: dict[Cell, WatchMessage] = {}

    def watch(self, cell: Cell, filenos: list[int]) -> None:
        wanted = self._not_in_the_mail(cell, set(filenos))
        armed = self._armed.pop(cell, {})
        for fileno, ours in list(armed.items()):
            if fileno not in wanted or not _same_file(fileno, ours):
                self._disarm(armed.pop(fileno))
        if not wanted:
            return
        self._armed[cell] = armed
        for fileno in wanted - armed.keys():
            armed[fileno] = self._arm(cell, fileno)

    def delivered(self, cell: Cell) -> None:
        self._fired.pop(cell, None)

    def forget(self, cell: Cell) -> None:
        if cell in self._armed:
            self.watch(cell, [])
        self._fired.pop(cell, None)

    def clear(self) -> None:
        for cell in list(self._armed):
            self.forget(cell)
        self._fired.clear()

    def _not_in_the_mail(self, cell: Cell, wanted: set[int]) -> set[int]:
        """News on its way is cut to what is still wanted, and need not be armed."""
        waiting = self._fired.get(cell)
        if waiting is None:
            return wanted
        waiting.ready = [fileno for fileno in waiting.ready if fileno in wanted]
        return wanted - set(waiting.ready)

    def _arm(self, cell: Cell, fileno: int) -> int:
        ours = os.dup(fileno)
        try:
            self._loop.add_reader(ours, self._readable, cell, fileno)
        except BaseException:
            os.close(ours)
            raise
        return ours

    def _disarm(self, ours: int) -> None:
        self._loop.remove_reader(ours)
        os.close(ours)

    def _readable(self, cell: Cell, fileno: int) -> None:
        self._disarm(self._armed[cell].pop(fileno))
        waiting = self._fired.get(cell)
        if waiting is None:
            waiting = self._fired[cell] = WatchMessage([])
            cell.put(waiting, cell.address)
        waiting.ready.append(fileno)


def _same_file(one: int, other: int) -> bool:
    """Descriptor numbers are used again: the actor may have closed this one and opened another."""
    try:
        return os.path.samestat(os.fstat(one), os.fstat(other))
    except OSError:
        return False
