"""Who is where: names to addresses, told to whoever depends on a name.

Lives here: the table of names, their incarnations and watchers; the end of the line for dead letters.
May import: thespian, structlog, supervisors.{base,messages}.

Supervisors say who is ready and who has ended; nobody else writes. An incarnation is minted when an actor
enrols, rises for as long as the registry lives, and is kept over a sleep.
"""

from __future__ import annotations

from typing import Any

import msgspec
import structlog
from thespian.actors import ActorAddress, DeadEnvelope

from supervisors.base import Supervised
from supervisors.messages import (
    Asleep,
    Down,
    Enrol,
    Enrolled,
    Register,
    Unregister,
    Up,
    Watch,
    answer_unavailable,
)

log = structlog.get_logger()


class Entry(msgspec.Struct):
    """A name that is Up, or asleep. Asleep counts as Up for everyone but the dead letters."""

    address: ActorAddress
    incarnation: int
    owner: str
    asleep: bool = False


class Registry(Supervised):
    """One in a tree, and its first child."""

    def __init__(self) -> None:
        super().__init__()
        self._entries: dict[str, Entry] = {}
        self._minted: dict[str, int] = {}
        self._owned: dict[str, set[str]] = {}
        self._watchers: dict[str, dict[str, ActorAddress]] = {}  # name -> str(address) -> address
        self._watched_by: dict[str, tuple[str, ...]] = {}  # str(address) -> names

    def on_start(self, args: Any) -> None:
        self.handleDeadLetters(True)
        self.ready()

    def on_message(self, msg: Any, sender: ActorAddress) -> None:
        match msg:
            case Enrol(name, watches):
                self._watch(sender, watches)
                self.send(sender, Enrolled(self._mint(name), self._ups(watches)))
            case Watch(names):
                self._watch(sender, names)
                for up in self._ups(names):
                    self.send(sender, up)
            case Register():
                self._register(msg)
            case Unregister(name, address):
                self._unregister(name, address)
            case Asleep(name, address):
                self._asleep(name, address)
            case DeadEnvelope():
                self._dead_letter(msg.deadAddress, msg.deadMessage)
            case _:
                log.warning("message.unexpected", actor=self.name, message=type(msg).__name__)

    # ── names ────────────────────────────────────────────────────────────────────────────────────

    def _mint(self, name: str) -> int:
        """A sleeper that wakes is the same life; everyone else is a new one."""
        entry = self._entries.get(name)
        if entry is None or not entry.asleep:
            self._minted[name] = self._minted.get(name, 0) + 1
        return self._minted[name]

    def _register(self, msg: Register) -> None:
        entry = self._entries.get(msg.name)
        # A name that never enrolled here is the registry itself, or outlived an older registry.
        incarnation = self._minted.setdefault(msg.name, 1)
        self._entries[msg.name] = Entry(msg.address, incarnation, msg.owner)
        self._owned.setdefault(msg.owner, set()).add(msg.name)
        if entry is None or not entry.asleep:
            self._tell(msg.name, Up(msg.name, incarnation, msg.address))

    def _unregister(self, name: str, address: ActorAddress) -> None:
        self._unwatch(address)
        entry = self._entries.get(name)
        # A sleeper that failed to wake never registered its new address.
        if entry is None or not (entry.asleep or entry.address == address):
            return
        self._drop_owned_by(name)
        self._owned[entry.owner].discard(name)
        del self._entries[name]
        self._tell(name, Down(name))

    def _drop_owned_by(self, owner: str) -> None:
        """A supervisor that crashed could not say that its children went with it."""
        for name in sorted(self._owned.get(owner, ())):
            self._unregister(name, self._entries[name].address)
        self._owned.pop(owner, None)

    def _asleep(self, name: str, address: ActorAddress) -> None:
        self._unwatch(address)
        entry = self._entries.get(name)
        if entry is not None and entry.address == address:
            entry.asleep = True

    # ── watchers ─────────────────────────────────────────────────────────────────────────────────

    def _watch(self, watcher: ActorAddress, names: tuple[str, ...]) -> None:
        key = str(watcher)
        before = self._watched_by.get(key, ())
        self._watched_by[key] = tuple(dict.fromkeys((*before, *names)))
        for name in names:
            self._watchers.setdefault(name, {})[key] = watcher

    def _unwatch(self, watcher: ActorAddress) -> None:
        key = str(watcher)
        for name in self._watched_by.pop(key, ()):
            self._watchers[name].pop(key, None)
            if not self._watchers[name]:
                del self._watchers[name]

    def _ups(self, names: tuple[str, ...]) -> tuple[Up, ...]:
        found = [(name, self._entries.get(name)) for name in names]
        return tuple(Up(name, entry.incarnation, entry.address) for name, entry in found if entry is not None)

    def _tell(self, name: str, news: Up | Down) -> None:
        for watcher in list(self._watchers.get(name, {}).values()):
            self.send(watcher, news)

    # ── dead letters ─────────────────────────────────────────────────────────────────────────────

    def _dead_letter(self, address: ActorAddress, message: object) -> None:
        if isinstance(message, (Up, Down, Enrolled)):
            self._unwatch(address)
        elif not answer_unavailable(self.send, message):
            log.debug("letter.dead", message=type(message).__name__)
