"""What an agent's side of protocol 2 must remember and say, without any I/O.

Feed it the hub's frames, the user's reports and `tick`s; after each call `take()` tells what to keep on disk,
then send, then tell the user, in that order. A task is listed until its final report was answered; reports
stay pending until answered and are sent again after each `welcome`, before an abort is obeyed.
May import: msgspec, agentcom.protocol, agentcom.session_talk.
"""

from collections.abc import Callable, Iterable
from typing import Literal

import msgspec
from msgspec.structs import replace

from agentcom.protocol import frames
from agentcom.protocol.errors import CALLER_LATER
from agentcom.session_talk import News, Talk

Report = (
    frames.TaskAccept | frames.TaskReject | frames.TaskBlock | frames.TaskUnblock | frames.TaskComplete
    | frames.TaskFail
)  # fmt: skip
FINAL_REPORTS = (frames.TaskReject, frames.TaskComplete, frames.TaskFail)
LET_GO = frozenset({"stale_generation", "not_owner", "not_found"})
"""Codes that say: this task is not yours any more."""


class Event(msgspec.Struct, frozen=True):
    """Base of what the user of a session is told."""


class Assigned(Event, frozen=True):
    """A new task. `accept` or `reject` it; work starts at `Accepted`."""

    assign: frames.TaskAssign


class Accepted(Event, frozen=True):
    task_id: str
    generation: int


class Stop(Event, frozen=True):
    """Stop working on it, then call `stopped`. Told once per life of the session."""

    task_id: str
    generation: int
    kind: Literal["cancel", "abort", "refused", "superseded"]
    reason: str


class Answered(Event, frozen=True):
    """An operator's answer to a `block`."""

    task_id: str
    generation: int
    answer: str


class Settled(Event, frozen=True):
    """The final report was answered, by a status or, refused, by a code: the task is let go."""

    task_id: str
    generation: int
    status: str
    superseded: bool = False
    code: str = ""
    message: str = ""


class Renumbered(Event, frozen=True):
    """The hub goes on with the task under another generation."""

    task_id: str
    was: int
    generation: int


class Refused(Event, frozen=True):
    """A frame that was refused without any task being let go."""

    error: frames.ErrorFrame


class Heard(Event, frozen=True):
    """A message came, or (`mailbox_gap`) some were removed before they could. `AgentSession.messages` hands it on."""

    frame: News


class Presence(Event, frozen=True):
    """Who came, left and changed; told to a session that wants it."""

    frame: frames.PresenceFrame


class Online(Event, frozen=True):
    welcome: frames.Welcome


class Offline(Event, frozen=True):
    reason: str


class Again(msgspec.Struct, frozen=True):
    """For the shell: `resend(id)` after this long."""

    id: str
    after_ms: int


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """A task that must be listed. `generation` may rise above the one it was assigned with."""

    assign: frames.TaskAssign
    generation: int
    phase: Literal["assigned", "working", "blocked"] = "assigned"
    stop: Literal["", "cancel", "abort", "refused", "superseded"] = ""
    reason: str = ""


class Saved(msgspec.Struct, frozen=True, omit_defaults=True):
    """All that must survive a restart of the client."""

    epoch: int = 0
    number: int = 0
    tasks: tuple[Entry, ...] = ()
    reports: tuple[Report, ...] = ()
    acked: int = 0  #: of the mailbox, in this epoch


class Todo(msgspec.Struct, frozen=True):
    """What a call leads to: keep `saved` (None: nothing changed), send, tell, look again later."""

    saved: Saved | None
    sends: list[frames.InboundFrame]
    events: list[Event]
    again: list[Again]


class SessionState:
    def __init__(self, saved: Saved | None = None) -> None:
        saved = saved or Saved()
        self.online = False
        self.epoch = saved.epoch
        self.tasks = {entry.assign.task_id: entry for entry in saved.tasks}
        self._reports = {report.id: report for report in saved.reports}
        self._number = saved.number
        self._round = 0
        self._sent_in: dict[str, int] = {}
        self._dirty = False
        self._sends: list[frames.InboundFrame] = []
        self._events: list[Event] = []
        self._again: list[Again] = []
        self._told: frames.TaskAnswer | None = None  #: the last answer that the user was told
        self.talk = Talk(self._say, lambda news: self._events.append(Heard(news)))
        self.talk.seen = self.talk.acked = saved.acked

    # --- what to do --------------------------------------------------------------------------------

    def take(self) -> Todo:
        todo = Todo(self.saved() if self._dirty else None, self._sends, self._events, self._again)
        self._dirty, self._sends, self._events, self._again = False, [], [], []
        return todo

    def saved(self) -> Saved:
        tasks, reports = tuple(self.tasks.values()), tuple(self._reports.values())
        return Saved(self.epoch, self._number, tasks, reports, self.talk.acked)

    def listed(self, alive: Callable[[str], bool]) -> list[frames.HeldTask]:
        return [
            frames.HeldTask(task_id, entry.generation, entry.phase, alive(task_id))
            for task_id, entry in self.tasks.items()
        ]

    # --- the user's reports: each says whether it concerned a held task ---------------------------------

    def accept(self, task_id: str, generation: int) -> bool:
        return self._report(frames.TaskAccept(task_id=task_id, generation=generation))

    def reject(self, task_id: str, generation: int, reason: str) -> bool:
        return self._report(frames.TaskReject(task_id=task_id, generation=generation, reason=reason))

    def block(self, task_id: str, generation: int, question: str) -> bool:
        self._told = None
        return self._report(frames.TaskBlock(task_id=task_id, generation=generation, question=question))

    def unblock(self, task_id: str, generation: int) -> bool:
        return self._report(frames.TaskUnblock(task_id=task_id, generation=generation))

    def finish(self, report: frames.TaskComplete | frames.TaskFail) -> bool:
        return self._report(report)

    def progress(self, frame: frames.TaskProgress) -> bool:
        """News is worth sending only now: it is neither kept nor sent again."""
        entry = self._entry(frame.task_id, frame.generation)
        if entry is not None and self.online:
            self._sends.append(frame)
        return entry is not None

    def stopped(self, task_id: str, generation: int) -> bool:
        """Nothing of the task runs any more. Is this lost on its way, the next list says the same."""
        if self._entry(task_id, generation) is None:
            return False
        self._let_go(task_id)
        if self.online:
            self._sends.append(frames.TaskStopped(task_id=task_id, generation=generation))
        return True

    def ack(self, seq: int) -> None:
        """Messages up to `seq` were dealt with: they will not come again."""
        self._dirty |= seq > self.talk.acked
        self.talk.ack(seq)

    def resend(self, report_id: str) -> None:
        self.talk.again(report_id)
        report = self._reports.get(report_id)
        if report is not None and self.online:
            self._send(report)

    def tick(self) -> None:
        """Once a heartbeat: an answer that is two heartbeats late is asked for again."""
        self._round += 1
        late = [id for id in self._reports if self._sent_in.get(id, 0) <= self._round - 2]
        for report_id in late:
            self.resend(report_id)

    def lost(self, reason: str) -> None:
        """The connection is gone."""
        if self.online:
            self._events.append(Offline(reason))
        self.online = False

    # --- the hub's frames ----------------------------------------------------------------------------

    def receive(self, frame: frames.OutboundFrame) -> None:
        of_talk, after_ms = self.talk.received(frame)
        if after_ms and isinstance(frame, frames.ErrorFrame):
            self._again.append(Again(frame.re, after_ms))
        if of_talk:
            return
        match frame:
            case frames.TaskAssign():
                self._on_assign(frame)
            case frames.TaskAck():
                self._on_ack(frame)
            case frames.ErrorFrame():
                self._on_error(frame)
            case frames.HeartbeatAck():
                self._on_aborts((abort.task_id, abort.generation, abort.reason) for abort in frame.abort)
            case frames.Welcome():
                self._on_welcome(frame)
            case frames.TaskCancel():
                self._on_cancel(frame)
            case frames.PresenceFrame():
                self._events.append(Presence(frame))
            case frames.TaskAnswer():
                self._on_answer(frame)

    def _on_welcome(self, welcome: frames.Welcome) -> None:
        self.online = True
        other_epoch = self.epoch != welcome.epoch
        self._dirty |= other_epoch
        self.epoch = welcome.epoch
        for verdict in welcome.tasks:
            if verdict.action == "continue":
                self._renumber(verdict.task_id, verdict.generation)
        self._events.append(Online(welcome))
        for report in self._reports.values():
            self._send(report)
        self.talk.welcomed(other_epoch=other_epoch)
        self._on_aborts((v.task_id, v.generation, v.reason) for v in welcome.tasks if v.action == "abort")

    def _renumber(self, task_id: str, generation: int) -> None:
        entry = self.tasks.get(task_id)
        if entry is None or entry.generation == generation:
            return
        self.tasks[task_id] = replace(entry, generation=generation)
        for report in [r for r in self._reports.values() if r.task_id == task_id]:
            self._reports[report.id] = replace(report, generation=generation)
        self._events.append(Renumbered(task_id, entry.generation, generation))
        self._dirty = True

    def _on_assign(self, assign: frames.TaskAssign) -> None:
        entry = self.tasks.get(assign.task_id)
        if entry is not None and entry.generation >= assign.generation:
            return  # sent again: our answer to it is pending or on its way
        if entry is not None:
            self._events.append(Stop(assign.task_id, entry.generation, "superseded", "assigned anew"))
            self._forget_reports(assign.task_id)
        self.tasks[assign.task_id] = Entry(assign, assign.generation)
        self._events.append(Assigned(assign))
        self._dirty = True

    def _on_ack(self, ack: frames.TaskAck) -> None:
        report = self._reports.pop(ack.re, None)
        if report is None:
            return  # a repeat
        self._dirty = True
        if isinstance(report, FINAL_REPORTS):
            self._let_go(report.task_id)
            self._events.append(Settled(report.task_id, report.generation, ack.status, ack.superseded))
            return
        phase = "blocked" if ack.status == "blocked" else "working"
        self.tasks[report.task_id] = replace(self.tasks[report.task_id], phase=phase)
        if isinstance(report, frames.TaskAccept):
            self._events.append(Accepted(report.task_id, report.generation))

    def _on_error(self, error: frames.ErrorFrame) -> None:
        report = self._reports.get(error.re)
        if report is not None and error.code in CALLER_LATER:
            self._again.append(Again(report.id, error.retry_after_ms))
            return
        if report is not None:
            del self._reports[report.id]
            self._dirty = True
        if isinstance(report, FINAL_REPORTS):
            self._let_go(report.task_id)
            settled = Settled(report.task_id, report.generation, "", False, error.code, error.message)
            self._events.append(settled)
        elif isinstance(report, frames.TaskAccept) or error.code in LET_GO:
            task_id, generation = (report or error).task_id, (report or error).generation
            self._stop(task_id, generation, "refused", f"{error.code}: {error.message}")
        else:
            self._events.append(Refused(error))

    def _on_aborts(self, aborts: Iterable[tuple[str, int, str]]) -> None:
        for task_id, _, reason in aborts:
            self._stop(task_id, None, "abort", reason)

    def _on_cancel(self, cancel: frames.TaskCancel) -> None:
        entry = self.tasks.get(cancel.task_id)
        if entry is None:  # it waits for this word
            stopped = frames.TaskStopped(task_id=cancel.task_id, generation=cancel.generation)
            self._sends.append(stopped)
        elif cancel.generation >= entry.generation:
            self._stop(cancel.task_id, None, "cancel", cancel.reason)

    def _on_answer(self, answer: frames.TaskAnswer) -> None:
        """It may come twice. While a question waits for its ack, what comes is an answer to the one before."""
        asking = any(
            isinstance(r, frames.TaskBlock) and r.task_id == answer.task_id for r in self._reports.values()
        )
        if asking or answer == self._told or self._entry(answer.task_id, answer.generation) is None:
            return
        self._told = answer
        self._events.append(Answered(answer.task_id, answer.generation, answer.answer))

    # --- small parts ---------------------------------------------------------------------------------

    def _entry(self, task_id: str, generation: int | None) -> Entry | None:
        entry = self.tasks.get(task_id)
        return entry if entry is not None and generation in (None, entry.generation) else None

    def is_reported(self, task_id: str) -> bool:
        """Whether a final report of it waits for its answer: nothing is left to do."""
        return any(r.task_id == task_id and isinstance(r, FINAL_REPORTS) for r in self._reports.values())

    def _report(self, report: Report) -> bool:
        if self._entry(report.task_id, report.generation) is None or self.is_reported(report.task_id):
            return False
        if any(replace(pending, id="") == report for pending in self._reports.values()):
            return True  # said already, not answered yet
        self._number += 1
        report = replace(report, id=str(self._number))
        self._reports[report.id] = report
        self._dirty = True
        if self.online:
            self._send(report)
        return True

    def _say(self, frame: frames.InboundFrame) -> None:
        if self.online:
            self._sends.append(frame)

    def _send(self, report: Report) -> None:
        self._sent_in[report.id] = self._round
        self._sends.append(report)

    def _stop(
        self, task_id: str, generation: int | None, kind: Literal["cancel", "abort", "refused"], reason: str
    ) -> None:
        """Told once; not while a final report is pending, whose answer lets the task go."""
        entry = self._entry(task_id, generation)
        if entry is None or entry.stop or self.is_reported(task_id):
            return
        self.tasks[task_id] = replace(entry, stop=kind, reason=reason)
        self._events.append(Stop(task_id, entry.generation, kind, reason))
        self._dirty = True

    def _let_go(self, task_id: str) -> None:
        self.tasks.pop(task_id, None)
        self._forget_reports(task_id)
        self._dirty = True

    def _forget_reports(self, task_id: str) -> None:
        self._reports = {id: r for id, r in self._reports.items() if r.task_id != task_id}
        self._sent_in = {id: n for id, n in self._sent_in.items() if id in self._reports}
