"""One agent: its session, what it holds, and whether it is free.

The agent decides for itself, the lane for the task. It is free only when it is connected, every lane has said
what it holds, its session listed nothing else since, it is not reserved, and nothing is being stopped.
Handlers yield decisions. Commits only the agent's row.
May import: agentcom.core, agentcom.protocol.
"""

from collections.abc import Iterator
from typing import Any, ClassVar

import msgspec

from agentcom.core.agent_state import AgentState, Session
from agentcom.core.decision import Decision, Output
from agentcom.core.hold import Hold, Reservation, Stopping, verdict
from agentcom.core.lane import Now
from agentcom.core.messages import (
    Absent,
    Answered,
    Claim,
    Claimed,
    ClaimRefused,
    EndSession,
    HolderAway,
    HolderBack,
    Holding,
    Offer,
    OfferDone,
    Reclaim,
    Released,
    Renew,
    ReportDone,
    Reported,
    SessionClosed,
    SessionFrame,
    SessionOpened,
    WhatDoIHold,
)  # fmt: skip
from agentcom.core.reports import FINAL_KIND
from agentcom.core.signature import normal
from agentcom.protocol.frames import (
    CLOSE_CODES,
    Abort,
    Drain,
    Draining,
    ErrorFrame,
    Heartbeat,
    HeartbeatAck,
    HeldTask,
    Hello,
    Status,
    StatusUpdated,
    TaskAck,
    TaskAnswer,
    TaskCancel,
    TaskReport,
    TaskStopped,
    Verdict,
    Welcome,
)  # fmt: skip
from agentcom.protocol.ops import Put


class Agent(AgentState):
    """The decisions of one agent's actor."""

    # --- messages ----------------------------------------------------------------------------------

    def handle(self, message: Any, now: Now) -> Iterator[Decision]:
        """Every message an agent understands; what changed is announced last. Raises `TypeError` for any other."""
        handler: Any = self._HANDLERS.get(type(message))
        if handler is None:
            raise TypeError(f"an agent does not understand {type(message).__name__}")
        yield from handler(self, message, now)
        if outputs := (*self._welcome(now), *self.announce(now)):
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
            self.shown = None
        if name == "gateway" and self.session:  # what we told it so far went to the one before
            yield Decision(outputs=(self._restarted(self.session.conn),))
            yield from self._session_closed(SessionClosed(self.session.conn, 1012, orderly=True), now)
        if outputs := self.announce(now):
            yield Decision(outputs=outputs)

    def gateway_down(self, now: Now) -> Iterator[Decision]:
        """Its sessions went with it; the lanes froze our leases by themselves."""
        if self.session:
            yield from self._session_closed(SessionClosed(self.session.conn, 1012, orderly=True), now)
            yield Decision(outputs=self.announce(now))

    def tick(self, now: Now) -> Iterator[Decision]:
        if outputs := self.announce(now):
            yield Decision(outputs=outputs)

    def next_wake(self, mono: float) -> float:
        """When, after `mono`, time alone changes something; monotonic seconds."""
        stop = self.stopping.since + self.policy.stop_s if self.stopping else 0.0
        return min((at for at in (stop, self.rests_until) if at > mono), default=float("inf"))

    # --- sessions ----------------------------------------------------------------------------------

    def _session_opened(self, opened: SessionOpened, now: Now) -> Iterator[Decision]:
        if self.asking:
            if self.hello:
                yield Decision(outputs=(self._replaced(self.hello.conn),))
            self.hello = opened
            return
        hello = opened.hello
        busy = self.hold is not None or self.session is not None
        known = self.session.instance if self.session else self.row.instance
        if busy and known and known != hello.instance and not hello.takeover:
            yield Decision(outputs=self._other_instance(opened))
            return
        replaced = (self._replaced(self.session.conn),) if self.session else ()
        self.session = Session(opened.conn, hello.instance, now.ms, now.mono, hello.id)
        self.draining = False
        self.verdicts, self.aborts = {}, {}
        self.finished.clear()  # what this client lists now it has either reported, or it must be told to stop
        yield self._keep(hello, now)._replace(outputs=replaced)
        yield from self._resume(hello, now)

    def _other_instance(self, opened: SessionOpened) -> tuple[Output, ...]:
        why = f"another instance of {self.id} is live or holds work; start with takeover to replace it"
        refusal = self._to(opened.conn, ErrorFrame(code="conflict", message=why, re=opened.hello.id))
        return refusal, Output("gateway", EndSession(opened.conn, CLOSE_CODES["other_instance"], why))

    def _keep(self, hello: Hello, now: Now) -> Decision:
        """The agent's row, when what it says of itself changed."""
        row = msgspec.structs.replace(
            self.row, capabilities=normal(hello.capabilities), instance=hello.instance,
            client=f"{hello.client.name} {hello.client.version}".strip(), updated_ms=now.ms,
        )  # fmt: skip
        if msgspec.structs.replace(row, updated_ms=self.row.updated_ms) == self.row:
            return Decision()
        self.row = row
        return Decision((Put("seen", (self.id,), row),), (), "agent.seen")

    def _resume(self, hello: Hello, now: Now) -> Iterator[Decision]:
        """Verdict by verdict; a task that may be given back is asked of its lane first, and `welcome` waits."""
        listed = hello.resume.tasks
        yield from self._missing(listed, now)
        if self.hold and self.hold.is_in(listed):
            back = HolderBack(self.id, self.hold.task_id, self.hold.generation)
            yield Decision(outputs=(self._lane(self.hold.lane, back),))
        yield from self._listed(listed, now)

    def _welcome(self, now: Now) -> tuple[Output, ...]:
        session = self.session
        if session is None or session.welcomed or self.reserved:
            return ()  # a claim on its way decides what the session is told
        session.welcomed = True
        session.proven = not self.aborts
        frame = Welcome(
            session=session.conn, agent_id=self.id, epoch=self.epoch, heartbeat_ms=int(self.policy.heartbeat_s * 1000),
            lease_ms=int(self.policy.work_s * 1000), grace_ms=int(self.policy.grace_s * 1000), time_ms=now.ms,
            tasks=list(self.verdicts.values()), re=session.hello_id,
        )  # fmt: skip
        self.verdicts = {}
        return (*self._say(frame), *self._push(now))

    def _session_closed(self, closed: SessionClosed, now: Now) -> Iterator[Decision]:
        if self.hello and self.hello.conn == closed.conn:
            self.hello = None
        if self.session is None or self.session.conn != closed.conn:
            return
        self.session = None
        if self.hold:
            self.hold.acked = False
            if not closed.orderly:
                away = HolderAway(self.id, self.hold.task_id, self.hold.generation)
                yield Decision(outputs=(self._lane(self.hold.lane, away),))

    def _frame(self, said: SessionFrame, now: Now) -> Iterator[Decision]:
        if self.session is None or said.conn != self.session.conn:
            yield from self._strange(said.conn)
            return
        match said.frame:
            case Heartbeat() as beat:
                yield from self._heartbeat(beat, now)
            case TaskStopped() as report:
                yield from self._stopped(report, now)
            case TaskReport() as report:
                yield from self._report(report, now)
            case Status(status=status, id=re):
                self.status = status
                yield Decision(outputs=self._say(StatusUpdated(re=re)))
            case Drain(id=re):
                self.draining = True
                yield Decision(outputs=self._say(Draining(re=re)))

    def _strange(self, conn: str) -> Iterator[Decision]:
        """An older session's last words, which nobody hears; or one that an earlier life of ours opened."""
        if self.hello is None or self.hello.conn != conn:
            yield Decision(outputs=(self._restarted(conn),))

    # --- what the session lists --------------------------------------------------------------------

    def _heartbeat(self, beat: Heartbeat, now: Now) -> Iterator[Decision]:
        yield from self._missing(beat.tasks, now)
        if self.hold and self.hold.is_in(beat.tasks):
            renew = Renew(self.id, (HeldTask(task_id=self.hold.task_id, generation=self.hold.generation),))
            yield Decision(outputs=(self._lane(self.hold.lane, renew),))
        yield from self._listed(beat.tasks, now)
        keys = {(of.task_id, of.generation) for of in beat.tasks}
        self.aborts = {key: why for key, why in self.aborts.items() if key in keys}
        if self.session and not self.aborts:
            self.session.proven = True
        aborts = [Abort(task_id, generation, why) for (task_id, generation), why in self.aborts.items()]
        yield Decision(outputs=self._say(HeartbeatAck(abort=aborts, re=beat.id)))

    def _missing(self, listed: list[HeldTask], now: Now) -> Iterator[Decision]:
        """Absence speaks only of a task whose accept this actor acknowledged to this client before."""
        if self.stopping and not self.stopping.is_in(listed):
            self.stopping = None
        hold = self.hold
        spoken = hold is not None and hold.was_acked and not hold.is_reporting
        if hold and spoken and hold.phase != "assigned" and not hold.is_in(listed):
            absent = Absent(self.id, self.incarnation, hold.task_id, hold.generation)
            yield Decision(outputs=(self._lane(hold.lane, absent),))

    def _listed(self, listed: list[HeldTask], now: Now) -> Iterator[Decision]:
        for of in listed:
            key = (of.task_id, of.generation)
            if self.hold and self.hold.key == key:
                self.hold.pushed = self.session.conn if self.session else ""
                self.verdicts[key] = verdict(of, "continue")
            elif key not in self.finished:
                yield from self._unexpected(of, now)

    def _unexpected(self, of: HeldTask, now: Now) -> Iterator[Decision]:
        """It lists a task that we do not hold: if nobody else has it, it may keep it."""
        key = (of.task_id, of.generation)
        if self.reserved and self.reserved.task_id == of.task_id:
            return
        if self.stopping and self.stopping.key == key and not self.stopping.may_return:
            self._abort(key, self.stopping.reason, now)
            return
        row = self.rows.get("task", (of.task_id,))
        blocked = self.hold or self.reserved or (self.stopping and self.stopping.key != key)
        if row is None or blocked:
            self._abort(key, "there is no such task" if row is None else "busy", now)
            return
        self.reserved = Reservation(of.task_id, row.lane, now.mono, reclaim=True, generation=of.generation)
        yield Decision(
            outputs=(self._lane(row.lane, Reclaim(self.id, self.incarnation, of.task_id, of.generation)),)
        )

    # --- reports -----------------------------------------------------------------------------------

    def _report(self, report: TaskReport, now: Now) -> Iterator[Decision]:
        row = self.rows.get("task", (report.task_id,))
        mine = self.hold if self.hold and self.hold.task_id == report.task_id else None
        if mine is None and row is None:
            unknown = ErrorFrame(
                code="not_found", message=f"there is no task {report.task_id}", re=report.id, task_id=report.task_id,
                generation=report.generation,
            )  # fmt: skip
            yield Decision(outputs=self._say(unknown))
            return
        is_final = type(report) in FINAL_KIND
        if mine:
            mine.is_reporting = mine.is_reporting or is_final
        elif not is_final and (report.task_id, report.generation) not in self.finished:
            # It works on a task the hub took back: it may have it again, if nobody else does.
            yield from self._unexpected(HeldTask(report.task_id, report.generation), now)
        lane = mine.lane if mine else row.lane
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
        elif self.hold and self.hold.key == key and isinstance(done.frame, TaskAck):
            self._acknowledged(self.hold, done.frame, live)
        yield Decision(outputs=outputs)

    def _acknowledged(self, hold: Hold, ack: TaskAck, live: bool) -> None:
        hold.phase = "blocked" if ack.status == "blocked" else "working"
        hold.acked = hold.acked or live
        hold.was_acked = hold.was_acked or live
        self.strikes = 0

    def _stopped(self, report: TaskStopped, now: Now) -> Iterator[Decision]:
        key = (report.task_id, report.generation)
        if self.stopping and self.stopping.key == key:
            self._forget(key)
        ack = TaskAck(task_id=report.task_id, generation=report.generation, status="stopped", re=report.id)
        yield Decision(outputs=self._say(ack))

    # --- offers and claims -------------------------------------------------------------------------

    def _offered(self, offer: Offer, now: Now) -> Iterator[Decision]:
        if not self.is_free(now):
            self.told = None  # it believed us free: say again what we are
            busy = OfferDone(self.id, offer.lane, offer.task_id, False, self.state(now))
            yield Decision(outputs=(Output("scheduler", busy),))
            return
        self.reserved = Reservation(offer.task_id, offer.lane, now.mono)
        claim = Claim(self.id, self.incarnation, offer.task_id, self.capabilities)
        yield Decision(outputs=(self._lane(offer.lane, claim),))

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
            return
        self.told = None
        taken = OfferDone(self.id, claimed.lane, claimed.task_id, True)
        yield Decision(outputs=(Output("scheduler", taken), *self._push(now)))
        if self.session is None:
            away = HolderAway(self.id, claimed.task_id, claimed.generation)
            yield Decision(outputs=(self._lane(claimed.lane, away),))

    def _returned(self, hold: Hold) -> None:
        """The lister keeps it, and needs no second push."""
        if self.stopping and self.stopping.key == hold.key:
            self.stopping = None
        hold.pushed = self.session.conn if self.session else ""
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
            yield from self._unexpected(HeldTask(refused.task_id, reserved.generation), now)

    def _holding(self, said: Holding, now: Now) -> Iterator[Decision]:
        """A lane's word on what we hold: after a start of ours or of its."""
        self.asking.discard(said.lane)
        if self.reserved and self.reserved.lane == said.lane:
            yield from self._resynchronised(self.reserved, said, now)
        if self.hold and self.hold.lane == said.lane and not self._still_ours(self.hold):
            self.stopping = Stopping(*self.hold.key, since=now.mono, may_return=True, reason="lost")
            self.hold = None
        for claimed in said.tasks:
            self._found(Hold.of(claimed))
        yield Decision(outputs=self._push(now))
        if not self.asking and self.hello:
            opened, self.hello = self.hello, None
            yield from self._session_opened(opened, now)
        elif not self.asking and self.hold and self.session is None:
            away = HolderAway(self.id, self.hold.task_id, self.hold.generation)
            yield Decision(outputs=(self._lane(self.hold.lane, away),))

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
        if released.stop:
            cancel = TaskCancel(
                task_id=released.task_id, generation=released.generation, reason=released.reason
            )
            yield Decision(outputs=self._say(cancel))

    def _answered(self, said: Answered, now: Now) -> Iterator[Decision]:
        if self.hold and self.hold.key == (said.task_id, said.generation):
            self.hold.phase = "working"
            frame = TaskAnswer(task_id=said.task_id, generation=said.generation, answer=said.answer)
            yield Decision(outputs=self._say(frame))

    _HANDLERS: ClassVar[dict[type, Any]] = {
        SessionOpened: _session_opened, SessionFrame: _frame, SessionClosed: _session_closed, Offer: _offered,
        Claimed: _claimed, ClaimRefused: _refused, Holding: _holding, ReportDone: _report_done, Released: _released,
        Answered: _answered,
    }  # fmt: skip
