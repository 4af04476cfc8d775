"""What compaction does when: `Progress` is fed what happened, and answers with the next step.

A round asks one part after the other, in slices, each asked for when the one before was answered; whoever is down or
does not answer is left for the next round. Then comes a look at the file, and a rewrite if that is worth it.
The shell is `actors.compaction`.
May import: agentcom.core, agentcom.protocol, msgspec.
"""

from typing import Any, Literal, NamedTuple

import msgspec

from agentcom.core.compaction import JOURNAL, STOPS, Found, RewriteRules, is_worth_it, lacks_room
from agentcom.core.messages import Archived, Expired, Snapshotted
from agentcom.protocol.upkeep_views import CompactionView, RewriteView

State = Literal[
    "idle", "telling", "expiring", "archive", "snapshots", "trimming",
    "looking", "placing", "copying", "switching", "dropping",
]  # fmt: skip
SHOWN: dict[State, str] = {
    "idle": "idle", "telling": "idle",
    **dict.fromkeys(("expiring", "archive", "snapshots", "trimming"), "removing what is old"),
    "looking": "looking at the file",
    **dict.fromkeys(("placing", "copying", "switching", "dropping"), "rewriting"),
}  # fmt: skip
"""What operators are told."""
Timer = Literal["late", "next", "round"]
"""An answer is late, a pause between two slices is over, it is time for a round."""
Step = Literal[
    "wait", "leap", "begin", "ask", "pause", "trim",
    "look", "place", "copy", "switch", "rewritten", "drop", "fail", "rest", "sleep",
]  # fmt: skip


class Next(NamedTuple):
    """What the shell does now. After "fail" it calls `failed`, after "begin" `begin`, after "rest" `rested`."""

    step: Step
    to: str = ""  #: of "ask": a name
    why: str = ""  #: of "fail"


class Copy(NamedTuple):
    """Of the file."""

    store: str = ""  #: folder of the store that is copied
    into: str = ""  #: folder of the copy
    seq: int = 0  #: up to which it has everything, when it is made


WAIT = Next("wait")


class Progress(msgspec.Struct):
    """Where compaction is, and what it did since the hub's start. Whatever it is told, it answers with the next step.

    | state | what is under way | its end | and otherwise |
    |---|---|---|---|
    | `idle` | nothing, until it is time or somebody wants a rewrite | `begin`: expiring; looking while held | |
    | `telling` | looks at clock and file, outside of a round | `looked`: idle | `closed`: idle |
    | `expiring` | one of `STOPS` removes a slice | `heard`: the same or the next, at last archive | `skip`: the next |
    | `archive` | up to where the archive has the journal | `heard`: snapshots | `skip`: looking |
    | `snapshots` | up to where a snapshot has everything | `heard`: trimming | `skip`: looking |
    | `trimming` | the store trims the journal | `trimmed`: archive again, or looking | `skip`: looking |
    | `looking` | a look at the file | `looked`: placing, or idle | `failed`, `closed`: idle |
    | `placing` | the store gives a folder for the copy | `placed`: copying | `failed`: idle |
    | `copying` | the copy is made | `copied`: switching | `copy_failed`: dropping |
    | `switching` | the store goes on with the copy | `switched`: telling | `failed`: idle |
    | `dropping` | what there is of a failed copy is removed | `dropped`, then `failed`: idle | |

    An answer or a time that comes in any other state is late, and the step is "wait". What the shell works at by itself
    (`leapt`, `looked`, `copied`, `copy_failed`, `dropped`) ends in no other, and `closed` may end any.
    """

    state: State = "idle"
    stop: int = len(STOPS)  #: place in `STOPS` of the round under way; behind the last when there is none
    number: int = 0  #: of the question that is open: an answer to another one is late
    archived: int = 0  #: the journal's entries up to here are in the archive
    snapshot: int = 0  #: and up to here in a snapshot
    copy: Copy = Copy()
    begun_s: float = 0.0  #: of the rewrite, monotonic
    asked: int = 0  #: rewrites that an operator wanted
    done: int = 0  #: of these, how many have ended, well or not
    failures: int = 0  #: in a row, of rewrites
    not_before_s: float = 0.0  #: a rewrite that failed is not tried again by itself before, monotonic
    problem: str = ""  #: why the last rewrite did not happen
    held: str = ""  #: why nothing is removed for its age
    silent: tuple[str, ...] = ()  #: who did not answer in the round under way or the last one
    removed: dict[str, int] = {}
    found: Found = Found(0, 0, 0)
    last: RewriteView | None = None

    @property
    def at(self) -> str:
        """Whose turn it is, "" outside of a round."""
        return STOPS[self.stop] if self.stop < len(STOPS) else ""

    @property
    def is_wanted(self) -> bool:
        return self.asked > self.done

    # --- a round -------------------------------------------------------------------------------------

    def want(self) -> Next:
        """An operator wants a rewrite. One that is under way is the one that was wanted."""
        if self.is_wanted:
            return WAIT
        self.asked += 1
        return Next("begin") if self.state == "idle" else WAIT

    def due(self, timer: Timer, number: int) -> Next:
        """A time that was set when `number` was that of the open question."""
        if number != self.number:
            return WAIT
        if timer == "late":
            return self.skip(silent=True)
        if timer == "next":
            return self._ask()
        return Next("begin") if self.state == "idle" else WAIT

    def begin(self, held: str | None) -> Next:
        """A round. `held`: why nothing may be removed, and then the look at the file comes at once; None when the
        clock was not looked at yet, and then that is all there is to do.
        """
        if held is None:
            self.state = "telling"
            return Next("leap")
        self.silent, self.held = (), held
        self._turn_to(len(STOPS) if held else 0)
        return self._ask()

    def leapt(self) -> Next:
        """It was looked whether the clock leapt."""
        return Next("look")

    def heard(self, number: int, answer: Any) -> Next:
        """Of whom was asked: `Expired`, `Archived`, `Snapshotted`, or a `Fault` of one that is just restarting."""
        if number != self.number:
            return WAIT
        match self.state, answer:
            case "expiring", Expired(removed=removed, more=more):
                return self._answered("rows" if self.at == "directory" else "tasks", removed, more=more)
            case "archive", Archived(seq=seq):
                self.state, self.archived = "snapshots", seq
                return self._ask()
            case "snapshots", Snapshotted(seq=seq):
                self.state, self.snapshot = "trimming", seq  # the time for this answer is for the trim too
                return Next("trim")
            case "expiring" | "archive" | "snapshots", _:
                return self.skip()
        return WAIT

    def trimmed(self, gone: int, left: int) -> Next:
        """Entries of the journal that the store has removed, and that it has still to remove."""
        if self.state != "trimming":
            return WAIT
        return self._answered("entries of the journal", gone, more=bool(left and gone))

    def down(self, name: str) -> Next:
        return self.skip() if name == self.at else WAIT

    def skip(self, *, silent: bool = False) -> Next:
        """Whose turn it is, is left for the next round."""
        if not self.at:
            return WAIT
        if silent:
            self.silent = (*self.silent, self.at)
        self._turn_to(self.stop + 1)
        return self._ask()

    def closed(self) -> Next:
        """The store is: nothing more can be done in this round."""
        return self._rest()

    def _answered(self, what: str, removed: int, *, more: bool) -> Next:
        """The open question was; without `more` it is the next one's turn."""
        self.removed[what] = self.removed.get(what, 0) + removed
        self._turn_to(self.stop + (not more))
        return Next("pause")

    def _turn_to(self, stop: int) -> None:
        self.stop = stop
        self.number += 1
        self.state = "looking" if not self.at else "archive" if self.at == JOURNAL else "expiring"

    def _ask(self) -> Next:
        """The next question, under a number of its own."""
        self.number += 1
        if self.state == "looking":
            return Next("look")
        return Next("ask", self.at if self.state == "expiring" else self.state)

    def _rest(self) -> Next:
        self.state, self.stop = "idle", len(STOPS)
        return Next("rest")

    def rested(self) -> Next:
        """What is to be told between rounds was."""
        return Next("begin") if self.is_wanted else Next("sleep")

    # --- the file ------------------------------------------------------------------------------------

    def looked(self, found: Found, rules: RewriteRules, now_s: float) -> Next:
        """What follows from a look at the file.

        A rewrite that an operator wants waits neither for the pause after a failed one, nor for its being worth it.
        """
        self.found = found
        wanted = self.is_wanted or (now_s >= self.not_before_s and is_worth_it(found, rules))
        if self.state == "telling" or not wanted:
            return self._rest()
        if why := lacks_room(found):
            return Next("fail", why=why)
        self.state, self.begun_s = "placing", now_s
        return Next("place")

    def placed(self, problem: str, store: str, into: str) -> Next:
        """The store's answer; one from before a crash finds us at something else."""
        if self.state != "placing":
            return WAIT
        if problem:
            return Next("fail", why=problem)
        self.state, self.copy = "copying", Copy(store, into)
        return Next("copy")

    def copied(self, seq: int) -> Next:
        self.state, self.copy = "switching", self.copy._replace(seq=seq)
        return Next("switch")

    def copy_failed(self, why: str) -> Next:
        """What there is of it is removed at once: it may be what fills the disk."""
        self.state, self.problem = "dropping", why
        return Next("drop")

    def dropped(self) -> Next:
        return Next("fail", why=self.problem)

    def switched(self, problem: str, last: RewriteView) -> Next:
        """As `placed`. `last` is what is told of a rewrite without a problem."""
        if self.state != "switching":
            return WAIT
        if problem:
            return Next("fail", why=problem)
        self.last, self.problem, self.failures = last, "", 0
        self.state, self.done = "telling", self.asked
        return Next("rewritten")

    def failed(self, why: str, not_before_s: float) -> Next:
        """The rewrite, which is over. See `not_before_s`."""
        self.problem, self.failures, self.not_before_s = why, self.failures + 1, not_before_s
        self.done = self.asked
        return self._rest()

    # --- what is told --------------------------------------------------------------------------------

    def view(self) -> CompactionView:
        return CompactionView(
            state=SHOWN[self.state],
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
