"""Faults of a simulation: what may go wrong, how often, with whom, and how an actor is made to crash.

Imports cells and choosers. Nothing here happens unless it is configured; what happened is counted by kind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any, Literal, get_args

import msgspec
from thespian.actors import ActorExitRequest

from agentcom.runtime.cell import Cell, PortCell, label_of
from agentcom.runtime.chooser import Chooser

Kind = Literal[
    "crash_before",
    "crash_during",
    "crash_after",
    "kill",
    "stall",
    "notice_late",
    "notice_twice",
    "notice_lost",
    "timer_late",
    "job_slow",
]
AT_DELIVERY: tuple[Kind, ...] = ("crash_before", "crash_during", "crash_after", "kill", "stall")
AT_NOTICE: tuple[Kind, ...] = ("notice_late", "notice_twice", "notice_lost")


class InjectedCrash(RuntimeError):
    """Raised inside an actor's handling by a simulation."""


class CrashWish(msgspec.Struct, frozen=True):
    """What an actor is given to handle when it is to crash with no message of its own."""

    def __str__(self) -> str:
        return "CrashWish"


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """One fault at one place: delivery number `nth` (from 1) of `message` (any, if empty) to the actor `label`."""

    kind: Kind
    label: str
    message: str = ""
    nth: int = 1
    send: int = 0  # crash_during: before its send number … (from 1); 0: when the handler has run

    def __post_init__(self) -> None:
        if self.kind not in AT_DELIVERY:
            raise ValueError(f"a fault that is planned is one of {', '.join(AT_DELIVERY)}, got {self.kind}")
        if self.nth < 1 or self.send < 0:
            raise ValueError(f"expected nth from 1 and send from 0, got {self.nth} and {self.send}")


class Faults(msgspec.Struct, frozen=True, kw_only=True):
    """Rates are probabilities: of a delivery, of an exit notice, of a timer, of a job."""

    crash_before: float = 0.0  # the message is never handled
    crash_during: float = 0.0  # before one of the handler's sends, or when it has run but not returned
    crash_after: float = 0.0  # the message is handled, then the actor crashes with no message
    kill: float = 0.0  # in place of the delivery, and without a word, the actor and all below it end
    stall: float = 0.0  # the actor handles nothing for one of `delays_s`
    notice_late: float = 0.0  # ChildActorExited after one of `delays_s`
    notice_twice: float = 0.0  # at once, and again after one of `delays_s`
    notice_lost: float = 0.0
    timer_late: float = 0.0
    job_slow: float = 0.0  # run_blocking runs after one of `delays_s`, and not at once
    delays_s: tuple[float, ...] = (0.01, 0.1, 1.0, 10.0)
    labels: tuple[str, ...] = ("*",)  # whose deliveries, timers and jobs: patterns of names
    spared: tuple[str, ...] = ()  # but never these
    at_most: int | None = None  # faults in all, not counting planned ones
    plan: tuple[Planned, ...] = ()

    def __post_init__(self) -> None:
        for kind in get_args(Kind):
            if not 0.0 <= getattr(self, kind) <= 1.0:
                raise ValueError(f"{kind} is a probability, expected 0 to 1, got {getattr(self, kind)}")
        if not self.delays_s or min(self.delays_s) < 0:
            raise ValueError(f"delays_s are one or more times from 0 on, got {self.delays_s}")

    def rates(self, kinds: tuple[Kind, ...]) -> list[tuple[Kind, float]]:
        return [(kind, rate) for kind in kinds if (rate := getattr(self, kind)) > 0.0]

    def eligible(self, label: str) -> bool:
        return _matches(label, self.labels) and not _matches(label, self.spared)


class Injector:
    """Decides where a fault happens, and remembers what did."""

    def __init__(self, faults: Faults, chooser: Chooser, counts: Counter[str]) -> None:
        self.counts = counts
        self._faults = faults
        self._chooser = chooser
        self._seen: Counter[Planned] = Counter()
        self._happened = 0
        self._at_delivery = faults.rates(AT_DELIVERY)
        self._at_notice = faults.rates(AT_NOTICE)
        self.any_at_delivery = bool(self._at_delivery or faults.plan)

    def at_delivery(self, cell: Cell, message: object) -> Planned | None:
        """The fault of this delivery, if it is to have one."""
        if isinstance(cell, PortCell) or isinstance(message, ActorExitRequest):
            return None
        label = label_of(cell)
        if (planned := self._planned(label, type(message).__name__)) is not None:
            return planned
        if not self._at_delivery or self._spent() or not self._faults.eligible(label):
            return None
        kind = self._one_of(self._at_delivery)
        if kind is None:
            return None
        send = self._chooser.choose(4, "send") if kind == "crash_during" else 0
        return Planned(kind=kind, label=label, send=send)

    def at_notice(self) -> Kind | None:
        kind = None if self._spent() else self._one_of(self._at_notice)
        if kind is not None:
            self.count(kind)
        return kind

    def delay(self, kind: Literal["timer_late", "job_slow"], cell: Cell) -> float:
        rate = getattr(self._faults, kind)
        if rate and not self._spent() and self._faults.eligible(label_of(cell)):  # noqa: SIM102 - draws last
            if self._chooser.happens(kind, rate):
                self.count(kind)
                return self.some_delay()
        return 0.0

    def some_delay(self) -> float:
        delays = self._faults.delays_s
        return delays[self._chooser.choose(len(delays), "delay") if len(delays) > 1 else 0]

    def count(self, kind: str) -> None:
        self._happened += 1
        self.counts[kind] += 1

    def _spent(self) -> bool:
        return self._faults.at_most is not None and self._happened >= self._faults.at_most

    def _planned(self, label: str, message: str) -> Planned | None:
        found = None
        for planned in self._faults.plan:
            if planned.label == label and planned.message in ("", message):
                self._seen[planned] += 1
                if self._seen[planned] == planned.nth:
                    found = planned
        return found

    def _one_of(self, rates: list[tuple[Kind, float]]) -> Kind | None:
        """One draw if nothing happens, as in almost every case."""
        total = min(1.0, sum(rate for _, rate in rates))
        if not total or not self._chooser.happens("fault", total):
            return None
        left = sum(rate for _, rate in rates)
        for kind, rate in rates[:-1]:
            if self._chooser.happens(kind, rate / left):
                return kind
            left -= rate
        return rates[-1][0]


def crash_point(instance: Any) -> str | None:
    """The method inside an actor's own handling of exceptions, if its class names one as `crash_point`."""
    return getattr(type(instance), "crash_point", None)


def set_trap(instance: Any, send: int | None, sprung: Callable[[], None]) -> Callable[[], None]:
    """The next message that `instance` handles crashes: at once (None), before that send, or at its end (0).

    Returns how to take the trap away. An instance's own attribute hides its class's method, so no actor
    needs to know of this.
    """
    name = crash_point(instance) or "receiveMessage"
    handle = getattr(instance, name)

    def take_away() -> None:
        instance.__dict__.pop(name, None)
        instance.__dict__.pop("send", None)

    def handle_and_crash(*args: Any) -> None:
        take_away()
        if send is not None:
            instance.send = _nth_send_crashes(instance.send, send, sprung)
            try:
                handle(*args)
            finally:
                take_away()
        sprung()
        raise InjectedCrash("before the message" if send is None else "when the handler had run")

    setattr(instance, name, handle_and_crash)
    return take_away


def _nth_send_crashes(send: Callable[..., Any], nth: int, sprung: Callable[[], None]) -> Callable[..., Any]:
    left = nth

    def counting(*args: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0:
            sprung()
            raise InjectedCrash(f"before send number {nth}")
        return send(*args)

    return counting


def _matches(label: str, patterns: tuple[str, ...]) -> bool:
    return any(pattern == "*" or fnmatchcase(label, pattern) for pattern in patterns)
