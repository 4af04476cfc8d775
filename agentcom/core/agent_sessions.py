"""The sessions of one agent: opened, resumed and closed, and what each lists as held.

A task that a session lists and we hold goes on; one that nobody else has is asked of its lane; any other is
to be stopped. A *silent* session (protocol 1) lists nothing: while it lasts, its agent is believed to have what it was
given, though no longer than `max_runtime_s`.
May import: agentcom.core, agentcom.protocol.
"""

from collections.abc import Iterator

import msgspec

from agentcom.core.agent_state import AgentState, Session
from agentcom.core.decision import Decision, Now, Output
from agentcom.core.hold import Hold, Reservation, verdict
from agentcom.core.messages import (
    Absent,
    EndSession,
    HolderAway,
    HolderBack,
    Reclaim,
    Renew,
    SessionClosed,
    SessionOpened,
)  # fmt: skip
from agentcom.core.signature import normal
from agentcom.protocol.frames import (
    CLOSE_CODES,
    Abort,
    Draining,
    ErrorFrame,
    Heartbeat,
    HeartbeatAck,
    HeldTask,
    Hello,
    Welcome,
)  # fmt: skip
from agentcom.protocol.ops import Put

KEPT_EVENTS = 500
"""A task's newest events; its assignment is among them."""


class AgentSessions(AgentState):
    """What an agent decides about its sessions."""

    def _session_opened(self, opened: SessionOpened, now: Now) -> Iterator[Decision]:
        if self.asking:
            if self.hello and self.hello.conn != opened.conn:
                yield Decision(outputs=(self._replaced(self.hello.conn),))
            self.hello = opened
            return
        hello = opened.hello
        busy = self.hold is not None or self.session is not None
        known = self.session.instance if self.session else self.row.instance
        if busy and known and known != hello.instance and not hello.takeover:
            yield Decision(outputs=self._other_instance(opened))
            return
        old, persona = self.session, opened.persona
        replaced = (self._replaced(old.conn),) if old and old.conn != opened.conn else ()
        self.session = Session(opened.conn, hello.instance, now.ms, now.mono, hello.id)
        if persona is not None:
            self.status = persona.status
            self.session.silent, self.session.name, self.session.beat_at = True, persona.name, now.mono
        self.draining = self.drained = False
        self.verdicts, self.aborts = {}, {}
        self.finished.clear()  # what this client lists now it has either reported, or it must be told to stop
        yield self._keep(hello, now)._replace(outputs=replaced)
        acked = hello.resume.acked_seq if hello.epoch == self.epoch else 0
        yield from self.inbox.opened(opened.conn, acked, now.ms, backlog=persona is None)
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
        strange = bool(hello.epoch) and hello.epoch != self.epoch
        listed = [self._renumbered(of) for of in hello.resume.tasks] if strange else hello.resume.tasks
        if self.session and self.session.silent:
            # whatever it had was lost before it came back: it would say so by a recovery
            self.stopping = None
            listed = self._believed(listed)
        yield from self._missing(listed, now)
        if self.hold and self.hold.is_in(listed):
            back = HolderBack(self.id, self.hold.task_id, self.hold.generation)
            yield Decision(outputs=(self._lane(self.hold.lane, back),))
        yield from self._listed(listed, now, anew=strange)

    def _renumbered(self, of: HeldTask) -> HeldTask:
        """What a client of another epoch lists, under the number that the task has in this one.

        A restore raised it. Whoever held the task then has the same one still, and is told the number by `continue`.
        """
        row = self.rows.get("task", (of.task_id,))
        mine = row is not None and self.id == (row.holder or row.last_holder)
        return msgspec.structs.replace(of, generation=row.generation) if mine else of

    def _welcome(self, now: Now) -> tuple[Output, ...]:
        session = self.session
        if session is None or session.welcomed or self.reserved:
            return ()  # a claim on its way decides what the session is told
        session.welcomed = True
        session.proven = session.silent or not self.aborts
        frame = Welcome(
            session=session.conn, agent_id=self.id, epoch=self.epoch, heartbeat_ms=int(self.policy.heartbeat_s * 1000),
            lease_ms=int(self.policy.work_s * 1000), grace_ms=int(self.policy.grace_s * 1000), time_ms=now.ms,
            tasks=list(self.verdicts.values()), re=session.hello_id, mailbox_pending=self.inbox.pending,
        )  # fmt: skip
        listed = self.hold is not None and self.hold.key in self.verdicts
        self.verdicts = {}
        drained = self._say(Draining()) if self.drained else ()
        answer = self._answer_again() if listed else ()
        return (*self._say(frame), *drained, *self._push(now), *answer, *self.inbox.begin())

    def _session_closed(self, closed: SessionClosed, now: Now) -> Iterator[Decision]:
        if self.hello and self.hello.conn == closed.conn:
            self.hello = None
        if self.session is None or self.session.conn != closed.conn:
            return
        self.session = None
        yield self.inbox.closed(now.ms)
        if self.hold:
            self.hold.acked = False
            if not closed.orderly:
                away = HolderAway(self.id, self.hold.task_id, self.hold.generation)
                yield Decision(outputs=(self._lane(self.hold.lane, away),))

    def _strange(self, conn: str) -> Iterator[Decision]:
        """An older session's last words, which nobody hears; or one that an earlier life of ours opened."""
        if self.hello is None or self.hello.conn != conn:
            yield Decision(outputs=(self._restarted(conn),))

    # --- what the session lists --------------------------------------------------------------------

    def _believed(self, listed: list[HeldTask]) -> list[HeldTask]:
        """What a silent client has: what it says, and what it accepted before."""
        hold = self.hold
        if hold is None or hold.phase == "assigned" or hold.is_in(listed):
            return listed
        return [*listed, HeldTask(hold.task_id, hold.generation)]

    def beat(self, session: Session, now: Now) -> Iterator[Decision]:
        """For a silent client: its connection lasts, and so does its lease. What it should stop it is given a time for,
        as nothing of it tells when it has: what it then gets too early it will reject.
        """
        session.beat_at = now.mono + min(self.policy.heartbeat_s, self.policy.work_s / 3)
        if self.stopping and self.stopping.is_late(now.mono, self.policy):
            self.stopping = None
        yield from self.inbox.looked(now.ms)
        hold = self.hold
        if (
            hold
            and hold.phase != "assigned"
            and self._runs_for_ms(hold, now) < self.policy.max_runtime_s * 1000
        ):
            renew = Renew(self.id, (HeldTask(hold.task_id, hold.generation),))
            yield Decision(outputs=(self._lane(hold.lane, renew),))

    def _runs_for_ms(self, hold: Hold, now: Now) -> int:
        """By the history: neither a restart of the hub nor a new connection begins anew."""
        if not hold.assigned_ms:
            found = self.rows.scan("history", (hold.task_id,), limit=KEPT_EVENTS, reverse=True)
            starts = (e.ms for _, e in found if e.event == "assigned" and e.generation == hold.generation)
            hold.assigned_ms = next(starts, now.ms)
        return now.ms - hold.assigned_ms

    def _heartbeat(self, beat: Heartbeat, now: Now) -> Iterator[Decision]:
        yield from self._missing(beat.tasks, now)
        if self.hold and self.hold.is_in(beat.tasks):
            tokens = beat.tokens_used if len(beat.tasks) == 1 else 0  # of two it does not say whose they are
            renew = Renew(self.id, (HeldTask(self.hold.task_id, self.hold.generation),), tokens)
            yield Decision(outputs=(self._lane(self.hold.lane, renew),))
        yield from self._listed(beat.tasks, now)
        keys = {(of.task_id, of.generation) for of in beat.tasks}
        self.aborts = {key: why for key, why in self.aborts.items() if key in keys}
        if self.session and not self.aborts:
            self.session.proven = True
        aborts = [Abort(task_id, generation, why) for (task_id, generation), why in self.aborts.items()]
        yield Decision(outputs=(*self._say(HeartbeatAck(abort=aborts, re=beat.id)), *self._push(now)))
        yield from self.inbox.looked(now.ms)

    def _missing(self, listed: list[HeldTask], now: Now) -> Iterator[Decision]:
        """Absence speaks only of a task whose accept this actor acknowledged to this client before."""
        if self.stopping and not self.stopping.is_in(listed):
            self.stopping = None
        hold = self.hold
        spoken = hold is not None and hold.was_acked and not hold.is_reporting
        if hold and spoken and hold.phase != "assigned" and not hold.is_in(listed):
            absent = Absent(self.id, self.incarnation, hold.task_id, hold.generation)
            yield Decision(outputs=(self._lane(hold.lane, absent),))

    def _listed(self, listed: list[HeldTask], now: Now, *, anew: bool = False) -> Iterator[Decision]:
        for of in listed:
            key = (of.task_id, of.generation)
            if self.hold and self.hold.key == key:
                self.hold.listed(self.session.conn if self.session else "")
                self.verdicts[key] = verdict(of, "continue")
            elif key not in self.finished:
                yield from self._unexpected(of, now, anew=anew)

    def _unexpected(self, of: HeldTask, now: Now, *, anew: bool = False) -> Iterator[Decision]:
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
        self.reserved = Reservation(of.task_id, row.lane, now.mono, True, of.generation, anew)
        reclaim = Reclaim(self.id, self.incarnation, of.task_id, of.generation, anew)
        yield Decision(outputs=(self._lane(row.lane, reclaim),))
