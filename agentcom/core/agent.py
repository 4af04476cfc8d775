"""One agent: its session, what it holds, and whether it is free.

The agent decides for itself, the lane for the task. It is free only when it is connected, every lane has said
what it holds, its session listed nothing else since, it is not reserved, and nothing is being stopped.
Handlers yield decisions. Commits only the agent's row. Sessions are in `agent_sessions`, memory in `agent_state`.
May import: agentcom.core, agentcom.protocol.
"""

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

from agentcom.core.agent_mail import AgentMail
from agentcom.core.agent_sessions import AgentSessions
from agentcom.core.agent_state import Session
from agentcom.core.decision import Decision, Now, Output
from agentcom.core.hold import Hold, Reservation, Stopping
from agentcom.core.messages import (
    AckMailbox,
    AgentPresent,
    Answered,
    Appended,
    Claim,
    Claimed,
    ClaimRefused,
    Forget,
    HolderAway,
    Holding,
    Offer,
    OfferDone,
    PauseChanged,
    Released,
    ReportDone,
    Reported,
    SendMessage,
    SessionClosed,
    SessionFrame,
    SessionOpened,
    WhatDoIHold,
)  # fmt: skip
from agentcom.core.missing import no_such
from agentcom.core.reports import FINAL_KIND
from agentcom.protocol.frames import (
    Ack,
    Drain,
    Draining,
    ErrorFrame,
    Heartbeat,
    HeldTask,
    Send,
    Status,
    StatusUpdated,
    TaskAck,
    TaskCancel,
    TaskComplete,
    TaskFail,
    TaskReport,
    TaskStopped,
    Verdict,
)  # fmt: skip
from agentcom.protocol.pauses import is_paused

ENDS = (TaskComplete, TaskFail)
"""After these reports their sender is free for any other task; after a reject it is not for that one."""


class Agent(AgentSessions, AgentMail):
    """The decisions of one agent's actor."""

    # --- messages ----------------------------------------------------------------------------------

    def handle(self, message: Any, now: Now) -> Iterator[Decision]:
        """Every message an agent understands; what changed is announced last. Raises `TypeError` for any other."""
        return self.handle_all((message,), now)

    def handle_all(self, messages: Iterable[Any], now: Now) -> Iterator[Decision]:
        """In order; what all of them together changed is announced once."""
        may_have_changed = False
        for message in messages:
            if type(message) is Appended:  # nothing that others are told of changes by it
                yield from self.inbox.appended(message, now.ms)
                continue
            handler: Any = self._HANDLERS.get(type(message))
            if handler is None:
                raise TypeError(f"an agent does not understand {type(message).__name__}")
            may_have_changed = True
            yield from handler(self, message, now)
        if may_have_changed and (outputs := (*self._welcome(now), *self.announce(now))):
            yield Decision(outputs=outputs)

    def up(self, name: str, now: Now) -> Iterator[Decision]:
        """A name is (again) up: what it forgot is told anew."""
        if name.startswith("lane."):
            lane: Any = name.removeprefix("lane.")
            self.asking.add(lane)
            yield Decision(outputs=(self._lane(lane, WhatDoIHold(self.id, self.incarnation)),))
        if name == "scheduler":
            self.told = None
        if name == "presence":
            self.shown, self.shown_at = None, float("-inf")
        if name == "gateway" and self.session:  # what we told it so far went to the one before
            yield Decision(outputs=(self._restarted(self.session.conn),))
            yield from self._session_closed(SessionClosed(self.session.conn, 1012, orderly=True), now)
        if outputs := self.announce(now):
            yield Decision(outputs=outputs)

    def down(self, name: str, now: Now) -> Iterator[Decision]:
        """A name is gone. The gateway's sessions went with it; the lanes froze our leases by themselves."""
        if name == "gateway" and self.session:
            yield from self._session_closed(SessionClosed(self.session.conn, 1012, orderly=True), now)
            yield Decision(outputs=self.announce(now))

    def tick(self, now: Now) -> Iterator[Decision]:
        if self.session and now.mono >= self.session.beat_at:
            yield from self.beat(self.session, now)
            yield from self._tidy(now)
        if now.mono >= self.inbox.flush_at:
            yield self.inbox.flush(now.ms)
        if outputs := self.announce(now):
            yield Decision(outputs=outputs)

    def next_wake(self, mono: float) -> float:
        """When, after `mono`, time alone changes something; monotonic seconds."""
        beat_at = self.session.beat_at if self.session else self.show_at
        wake = min(self.show_at, self.inbox.flush_at, beat_at)
        if self.stopping and mono < (late := self.stopping.since + self.policy.stop_s):
            wake = min(wake, late)
        return min(wake, self.rests_until) if self.rests_until > mono else wake

    def _frame(self, said: SessionFrame, now: Now) -> Iterator[Decision]:
        if self.session is None or said.conn != self.session.conn:
            yield from self._strange(said.conn)
            return
        match said.frame:
            case Heartbeat() as beat:
                yield from self._heartbeat(beat, now)
                yield from self._tidy(now)
            case TaskStopped() as report:
                yield from self._stopped(report, now)
            case TaskReport() as report:
                yield from self._report(report, now)
            case Status(status=status, id=re):
                self.status = status
                yield Decision(outputs=self._say(StatusUpdated(re=re)))
            case Send() as send:
                yield from self._said(send, now)
            case Ack() as ack:
                yield from self._ack(ack, now)
            case Drain(id=re):
                self.draining = True
                yield Decision(outputs=self._say(Draining(re=re)))

    def _pause_changed(self, said: PauseChanged, now: Now) -> Iterator[Decision]:
        """What it has it keeps, and an offer under way to its lane is not called back."""
        self.paused = is_paused(self.rows, "agent", self.id)
        if said.drained is None:
            return
        was, self.drained = self.drained, said.drained and self.session is not None
        if self.drained and not was and self.session and self.session.welcomed:
            yield Decision(outputs=self._say(Draining()))

    # --- reports -----------------------------------------------------------------------------------

    def _report(self, report: TaskReport, now: Now) -> Iterator[Decision]:
        mine = self.hold if self.hold and self.hold.task_id == report.task_id else None
        row = None if mine else self.rows.get("task", (report.task_id,))
        if mine is None and row is None:
            unknown = ErrorFrame(
                code="not_found", message=no_such("task", report.task_id), re=report.id, task_id=report.task_id,
                generation=report.generation,
            )  # fmt: skip
            yield Decision(outputs=self._say(unknown))
            return
        is_final = type(report) in FINAL_KIND
        if mine:
            mine.is_reporting = mine.is_reporting or is_final
            mine.is_finishing |= isinstance(report, ENDS) and report.generation == mine.generation
        elif not is_final and (report.task_id, report.generation) not in self.finished:
            # It works on a task the hub took back: it may have it again, if nobody else does.
            yield from self._unexpected(HeldTask(report.task_id, report.generation), now)
        task: Any = mine or row
        lane = task.lane
        conn = self.session.conn if self.session else ""
        yield Decision(outputs=(self._lane(lane, Reported(self.id, self.incarnation, conn, report)),))

    def _report_done(self, done: ReportDone, now: Now) -> Iterator[Decision]:
        key = (done.task_id, done.generation)
        live = self.session is not None and self.session.conn == done.conn
        outputs = (self._to(done.conn, done.frame),) if live else ()
        if done.released:
            self._forget(key)
            if done.rejected:
                self._strike(now)
        elif self.hold and self.hold.key == key:
            if isinstance(done.frame, TaskAck):
                self._acknowledged(self.hold, done.frame, live)
            else:
                self.hold.is_finishing = False
        yield Decision(outputs=outputs)
        yield from self._claim_now(now)

    def _acknowledged(self, hold: Hold, ack: TaskAck, live: bool) -> None:
        hold.phase = "blocked" if ack.status == "blocked" else "working"
        hold.acked = hold.acked or live
        hold.was_acked = hold.was_acked or live
        self.strikes = 0

    def _stopped(self, report: TaskStopped, now: Now) -> Iterator[Decision]:
        key = (report.task_id, report.generation)
        if self.stopping and self.stopping.key == key:
            self._forget(key)
        self.aborts.pop(key, None)
        ack = TaskAck(task_id=report.task_id, generation=report.generation, status="stopped", re=report.id)
        yield Decision(outputs=(*self._say(ack), *self._push(now)))

    # --- offers and claims -------------------------------------------------------------------------

    def _offered(self, offer: Offer, now: Now) -> Iterator[Decision]:
        finishing = self.is_finishing(now)
        if not finishing and not self.is_free(now):
            self.told = None  # it believed us free: say again what we are
            busy = OfferDone(self.id, offer.lane, offer.task_id, False, self.state(now))
            yield Decision(outputs=(Output("scheduler", busy),))
            return
        held = self.hold if finishing else None
        behind = held is None or held.lane == offer.lane
        self.reserved = Reservation(offer.task_id, offer.lane, now.mono, claimed=behind)
        if behind:
            yield self._claim(self.reserved, held.key if held else None)

    def _claim(self, reserved: Reservation, after: tuple[str, int] | None = None) -> Decision:
        claim = Claim(self.id, self.incarnation, reserved.task_id, self.capabilities, after)
        return Decision(outputs=(self._lane(reserved.lane, claim),))

    def _claim_now(self, now: Now) -> Iterator[Decision]:
        """The report that a claim waited for was answered, or what came of it is known otherwise."""
        reserved = self.reserved
        if reserved is None or reserved.claimed or (self.hold and self.hold.is_finishing):
            return
        if self.hold is None and self._takes_work(now):
            reserved.claimed = True
            yield self._claim(reserved)
        else:
            self.reserved, self.told = None, None
            done = OfferDone(self.id, reserved.lane, reserved.task_id, False, self.state(now))
            yield Decision(outputs=(Output("scheduler", done),))

    def _claimed(self, claimed: Claimed, now: Now) -> Iterator[Decision]:
        reserved = self.reserved if self.reserved and self.reserved.task_id == claimed.task_id else None
        if self.hold and self.hold.key == (claimed.task_id, claimed.generation):
            self.hold.follow(claimed)  # it moved to another lane
            return
        if reserved is None:  # resynchronised meanwhile
            self._found(Hold.of(claimed))
            yield Decision(outputs=self._push(now))
            return
        self.reserved = None
        self.hold = Hold.of(claimed)
        if reserved.reclaim:
            self._returned(self.hold)
            yield Decision(outputs=self._answer_again())
            return
        if self.told:  # a scheduler that made the offer knows that we are busy
            self.told = (AgentPresent, self.row.capabilities)
        taken = OfferDone(self.id, claimed.lane, claimed.task_id, True)
        yield Decision(outputs=(Output("scheduler", taken), *self._push(now)))
        if self.session is None:
            away = HolderAway(self.id, claimed.task_id, claimed.generation)
            yield Decision(outputs=(self._lane(claimed.lane, away),))

    def _returned(self, hold: Hold) -> None:
        """The lister keeps it, and needs no second push."""
        if self.stopping and self.stopping.key == hold.key:
            self.stopping = None
        hold.listed(self.session.conn if self.session else "")
        self.verdicts[hold.key] = Verdict(*hold.key, "continue")

    def _refused(self, refused: ClaimRefused, now: Now) -> Iterator[Decision]:
        reserved = self.reserved
        if reserved is None or reserved.task_id != refused.task_id:
            return
        self.reserved = None
        if not reserved.reclaim:
            self.told = None
            done = OfferDone(self.id, refused.lane, refused.task_id, False, refused.reason)
            yield Decision(outputs=(Output("scheduler", done),))
            return
        if refused.abort:
            self._abort((refused.task_id, reserved.generation), refused.reason, now)
        else:
            again = HeldTask(refused.task_id, reserved.generation)
            yield from self._unexpected(again, now, anew=reserved.anew)

    def _holding(self, said: Holding, now: Now) -> Iterator[Decision]:
        """A lane's word on what we hold: after a start of ours or of its."""
        self.asking.discard(said.lane)
        if self.reserved and self.reserved.claimed and self.reserved.lane == said.lane:
            yield from self._resynchronised(self.reserved, said, now)
        if self.hold and self.hold.lane == said.lane:
            self._look_again(self.hold, now)
        for claimed in said.tasks:
            self._found(Hold.of(claimed))
        told = self._answer_again() if self.hold and self.hold.lane == said.lane else ()
        yield Decision(outputs=(*self._push(now), *told))
        yield from self._claim_now(now)
        if not self.asking and self.hello:
            opened, self.hello = self.hello, None
            yield from self._session_opened(opened, now)
        elif not self.asking and self.hold and self.session is None:
            away = HolderAway(self.id, self.hold.task_id, self.hold.generation)
            yield Decision(outputs=(self._lane(self.hold.lane, away),))

    def _look_again(self, hold: Hold, now: Now) -> None:
        """The lane lost what was on its way to it: a report is sent again by who made it."""
        hold.is_finishing = False
        if self._still_ours(hold):
            return
        if hold.is_reporting:  # it counted before the lane went down
            self._forget(hold.key)
            return
        self.stopping = Stopping(*hold.key, since=now.mono, may_return=True, reason="lost")
        self.hold = None

    def _still_ours(self, hold: Hold) -> bool:
        """By the row, since a lane says nothing of what moved on. Follows it there."""
        row = self.rows.get("task", (hold.task_id,))
        ours = row is not None and (row.holder, row.generation) == (self.id, hold.generation)
        if ours:
            hold.lane = row.lane
        return ours

    def _found(self, hold: Hold) -> None:
        """A lane says that we hold this; it may have ended or moved since."""
        if self.hold is None and self._still_ours(hold):
            self.hold = hold

    def _resynchronised(self, reserved: Reservation, said: Holding, now: Now) -> Iterator[Decision]:
        row = self.rows.get("task", (reserved.task_id,))
        if row is not None and row.holder == self.id and row.lane != said.lane:
            reserved.lane = row.lane  # claimed, and then moved: the lane that has it now will say so
            return
        self.reserved = None
        taken = any(of.task_id == reserved.task_id for of in said.tasks)
        if not reserved.reclaim:
            self.told = None
            done = OfferDone(self.id, said.lane, reserved.task_id, taken, "the lane started again")
            yield Decision(outputs=(Output("scheduler", done),))
        elif not taken and self.hold is None:  # its client still lists it: asked again at its next heartbeat
            self.stopping = Stopping(
                reserved.task_id, reserved.generation, since=now.mono, may_return=True, reason="lost"
            )

    def _released(self, released: Released, now: Now) -> Iterator[Decision]:
        """The hub took it back. We are busy until the sidecar proves otherwise."""
        key = (released.task_id, released.generation)
        if self.hold is None or self.hold.key != key:
            return
        throughout = self.session is not None and self.session.since <= self.hold.pushed_at
        self.hold = None
        self.stopping = Stopping(*key, since=now.mono, may_return=not released.stop, reason=released.reason)
        if released.accept_timeout and throughout:
            self._strike(now)
        if released.reason == "lost":
            self.stopping = None  # it said so itself
        if released.stop and self.session:
            yield Decision(outputs=self._stop(self.session, released))

    def _stop(self, session: Session, released: Released) -> tuple[Output, ...]:
        """Before the welcome nothing is said: what was listed is then told by its verdict."""
        key = (released.task_id, released.generation)
        if session.welcomed:
            return self._say(TaskCancel(task_id=key[0], generation=key[1], reason=released.reason))
        if key in self.verdicts:
            self.verdicts[key] = Verdict(*key, "abort", released.reason)
        return ()

    def _answered(self, said: Answered, now: Now) -> Iterator[Decision]:
        if self.hold and self.hold.key == (said.task_id, said.generation):
            yield Decision(outputs=self._tell_answer(self.hold, said.answer))

    _HANDLERS: ClassVar[dict[type, Any]] = {
        SessionOpened: AgentSessions._session_opened, SessionFrame: _frame,
        SessionClosed: AgentSessions._session_closed, Offer: _offered, Claimed: _claimed, ClaimRefused: _refused,
        Holding: _holding, ReportDone: _report_done, Released: _released, Answered: _answered,
        SendMessage: AgentMail._asked_to_send, AckMailbox: AgentMail._asked_to_ack,
        Forget: AgentMail._forget_mail, PauseChanged: _pause_changed,
    }  # fmt: skip
