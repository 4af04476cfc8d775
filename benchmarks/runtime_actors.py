"""The actors that benchmarks.runtime measures with; a module of their own, so that other processes find them."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from thespian.actors import Actor, ActorAddress, ActorExitRequest, WakeupMessage

from supervisors.base import Supervised


class Player(Actor):
    """Counts a ball down; the last answer goes to who threw it in. The count must be odd."""

    thrower: Any = None

    def receiveMessage(self, msg: Any, sender: ActorAddress) -> None:
        if isinstance(msg, int) and msg:
            self.send(sender, msg - 1)
        elif msg == 0:
            self.send(self.thrower, "done")
        elif isinstance(msg, tuple):
            self.thrower = sender
            self.send(msg[0], msg[1])


class Sink(Actor):
    """Answers when it has been sent the number of messages that it is asked for."""

    got = 0
    wanted = -1
    asker: Any = None

    def receiveMessage(self, msg: Any, sender: ActorAddress) -> None:
        if msg == 1:
            self.got += 1
        elif isinstance(msg, int):
            self.wanted, self.asker = msg, sender
        if self.got == self.wanted:
            self.send(self.asker, "done")


class Source(Actor):
    """Sends in portions, so that no mailbox holds everything."""

    def receiveMessage(self, msg: Any, sender: ActorAddress) -> None:
        if isinstance(msg, tuple):
            target, count = msg
            for _ in range(min(count, 20)):
                self.send(target, 1)
            if count > 20:
                self.send(self.myAddress, (target, count - 20))


class Echo(Actor):
    def receiveMessage(self, msg: Any, sender: ActorAddress) -> None:
        if isinstance(msg, int):
            self.send(sender, msg)


class Idle(Actor):
    def receiveMessage(self, msg: Any, sender: ActorAddress) -> None:
        pass


class Mother(Actor):
    """Creates children and tells them to go, a few in each turn."""

    def receiveMessage(self, msg: Any, sender: ActorAddress) -> None:
        if isinstance(msg, int):
            self.send(self.myAddress, (msg, sender))
        elif isinstance(msg, tuple):
            left, asker = msg
            for _ in range(min(left, 1000)):
                self.send(self.createActor(Idle), ActorExitRequest())
            if left > 1000:
                self.send(self.myAddress, (left - 1000, asker))
            else:
                self.send(asker, "done")


class Sleeper(Actor):
    """Sets that many timers far ahead, and says how long setting the last thousand took."""

    def receiveMessage(self, msg: Any, sender: ActorAddress) -> None:
        if isinstance(msg, int):
            for n in range(msg - 1000):
                self.wakeupAfter(timedelta(seconds=3600 + n % 977))
            began = time.process_time()
            for n in range(1000):
                self.wakeupAfter(timedelta(seconds=3600 + n % 977))
            self.send(sender, time.process_time() - began)
        elif isinstance(msg, WakeupMessage):
            pass


class Phoenix(Supervised):
    """Says to the address it was given that it has started, and with which number."""

    def on_start(self, args: ActorAddress) -> None:
        self.send(args, self.start)
        self.ready()
