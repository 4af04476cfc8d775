"""The order of compaction's work, and when rewriting the file is worth it. Pure: the shell is `actors.compaction`.

A round asks one part after the other, in slices, each asked for when the one before was answered; whoever is down or
does not answer is left for the next round.
May import: agentcom.protocol, msgspec.
"""

from typing import Literal, NamedTuple

import msgspec

from agentcom.protocol.rows import LANES
from agentcom.protocol.upkeep_views import CompactionView, RewriteView

JOURNAL = "journal"
STOPS: tuple[str, ...] = (*(f"lane.{lane}" for lane in LANES), "directory", JOURNAL)
SPARE_BYTES = 64 << 20
"""What stays free on the disk while a copy is made, so that the hub can go on writing."""


class RewriteRules(NamedTuple):
    """When the file is rewritten without being asked."""

    free_share: float
    free_bytes: int


class Found(NamedTuple):
    """What a look at the file and its disk told."""

    bytes: int
    free_bytes: int  #: of the file's
    room_bytes: int  #: on the disk


def is_worth_it(found: Found, rules: RewriteRules) -> bool:
    return found.free_bytes >= rules.free_bytes and found.free_bytes >= rules.free_share * found.bytes


def lacks_room(found: Found) -> str:
    """Why a copy cannot be made now, "" when it can. What is written while it is made needs room twice."""
    used = found.bytes - found.free_bytes
    needed = used + used // 8 + SPARE_BYTES
    if found.room_bytes >= needed:
        return ""
    return (
        f"the disk has {found.room_bytes >> 20} MB left and a copy of the file needs {needed >> 20} MB; free some "
        "room, or give the data folder a larger disk"
    )


class Next(NamedTuple):
    """What compaction does after a look at the file."""

    step: Literal["rest", "rewrite", "fail"]
    why: str = ""


class Progress(msgspec.Struct):
    """Where compaction is, and what it did since the hub's start."""

    stop: int = len(STOPS)  #: place in `STOPS` of the round under way; behind the last when there is none
    number: int = 0  #: of the question that is open: an answer to another one is late
    state: str = "idle"
    asked: int = 0  #: rewrites that an operator wanted
    done: int = 0  #: of these, how many have ended, well or not
    failures: int = 0  #: in a row, of rewrites
    problem: str = ""  #: why the last rewrite did not happen
    held: str = ""  #: why nothing is removed for its age
    silent: tuple[str, ...] = ()  #: who did not answer in the round under way or the last one
    removed: dict[str, int] = {}
    found: Found = Found(0, 0, 0)
    last: RewriteView | None = None

    @property
    def at(self) -> str:
        """Whose turn it is, "" between rounds."""
        return STOPS[self.stop] if self.stop < len(STOPS) else ""

    @property
    def is_wanted(self) -> bool:
        return self.asked > self.done

    def begin(self, held: str = "") -> None:
        """A round; one in which nothing may be removed goes to the look at the file at once."""
        self.stop, self.silent, self.held = len(STOPS) if held else 0, (), held
        self.state = "looking at the file" if held else "removing what is old"

    def ask(self) -> int:
        """The number of the next question."""
        self.number += 1
        return self.number

    def answered(self, removed: int, *, more: bool) -> None:
        """The open question was; without `more` it is the next one's turn."""
        name = (
            "entries of the journal" if self.at == JOURNAL else "rows" if self.at == "directory" else "tasks"
        )
        self.number += 1
        self.removed[name] = self.removed.get(name, 0) + removed
        self.stop += not more

    def skip(self, *, silent: bool = False) -> None:
        if silent:
            self.silent = (*self.silent, self.at)
        self.number += 1
        self.stop += 1

    def judge(self, found: Found, rules: RewriteRules, *, rested: bool) -> Next:
        """What follows from a look at the file. `rested`: the pause after a failed rewrite is over.

        A rewrite that an operator wants does not wait for that, nor for its being worth it. The look at the start,
        before any round, only tells.
        """
        self.found = found
        wanted = self.is_wanted or (rested and is_worth_it(found, rules))
        if self.state == "idle" or not wanted:
            return Next("rest")
        why = lacks_room(found)
        return Next("fail", why) if why else Next("rewrite")

    def rewritten(self, last: RewriteView) -> None:
        self.last, self.problem, self.failures = last, "", 0
        self._ended()

    def failed(self, why: str) -> None:
        self.problem, self.failures = why, self.failures + 1
        self._ended()

    def _ended(self) -> None:
        self.state, self.done = "idle", self.asked

    def view(self) -> CompactionView:
        return CompactionView(
            state=self.state,
            asked=self.asked,
            done=self.done,
            bytes=self.found.bytes,
            free_bytes=self.found.free_bytes,
            removed=dict(self.removed),
            problem=self.problem,
            last=self.last,
        )

    def alerts(self) -> tuple[str, ...]:
        rewrite = (f"the store's file could not be rewritten: {self.problem}",) if self.problem else ()
        silent = (f"{name} did not remove what is old when it was asked to" for name in self.silent)
        return (*rewrite, *((self.held,) if self.held else ()), *silent)
