"""What one agent's actor remembers, and what follows from it: whether it is free, and what others are told.

May import: agentcom.core, agentcom.protocol.
"""

from typing import Any

import msgspec

from agentcom.core.decision import Entropy, Now, Output, Rows
from agentcom.core.hold import Hold, Reservation, Stopping
from agentcom.core.inbox import Inbox, MailRules
from agentcom.core.messages import (
    AgentGone,
    AgentPresent,
    AgentReady,
    AgentStatus,
    EndSession,
    Fault,
    SessionOpened,
    ToSession,
)
from agentcom.core.policy import Policy
from agentcom.protocol.frames import CLOSE_CODES, TaskAnswer, Verdict
from agentcom.protocol.pauses import is_paused
from agentcom.protocol.rows import LANES, Lane, Seen

Key = tuple[str, int]
_MAIL = MailRules()
KEEP_FINISHED = 8
SHOW_S = 0.1
"""Presence hears of one agent's work at most so often: what lies between is of no use to whoever looks. What its
client does (it comes, goes, says a status) is told at once."""


class Session(msgspec.Struct):
    """The one live connection."""

    conn: str
    instance: str
    since_ms: int
    since: float  #: monotonic seconds
    hello_id: str = ""  #: the welcome answers it
    silent: bool = False  #: it never says what it holds (protocol 1)
    name: str = ""
    beat_at: float = float("inf")  #: when a silent one's lease is next renewed
    welcomed: bool = False
    proven: bool = False  #: a resume or heartbeat of it listed nothing that is not ours to keep


class AgentState:
    """The memory of one agent's actor."""

    def __init__(
        self,
        agent_id: str,
        incarnation: int,
        policy: Policy,
        rows: Rows,
        epoch: int,
        mail: MailRules = _MAIL,
        entropy: Entropy | None = None,
    ) -> None:
        self.id = agent_id
        self.mail_rules = mail
        self.entropy = entropy
        self.inbox = Inbox(agent_id, rows, mail)
        self.tidied = 0  #: the hour in which figures were
        self.admission: Fault | None = None  #: why nothing that writes is taken just now
        self.incarnation = incarnation
        self.policy = policy
        self.rows = rows
        self.epoch = epoch
        self.session: Session | None = None
        self.hold: Hold | None = None
        self.reserved: Reservation | None = None
        self.stopping: Stopping | None = None
        self.asking: set[Lane] = set(LANES)  #: lanes that have not said yet what we hold
        self.draining = False  #: its client said so
        self.drained = False  #: an operator said so, of this session
        self.paused = is_paused(rows, "agent", agent_id)
        self.strikes = 0
        self.rests_until = 0.0
        self.status = ""
        self.hello: SessionOpened | None = None  #: waits until every lane has answered
        self.verdicts: dict[Key, Verdict] = {}  #: of the resume under way
        self.aborts: dict[Key, str] = {}  #: told with each heartbeat until no longer listed
        self.finished: dict[Key, None] = {}  #: ended by its own report; a late listing means nothing
        self.told: Any = None  #: what the scheduler heard last
        self.shown: Any = None  #: what presence heard last
        self.shown_at = float("-inf")
        self.show_at = float("inf")  #: when what is held back is shown
        self.row: Seen = rows.get("seen", (agent_id,)) or Seen(agent_id)

    # --- what it is --------------------------------------------------------------------------------

    @property
    def capabilities(self) -> tuple[str, ...]:
        return self.row.capabilities

    @property
    def is_idle(self) -> bool:
        """Nothing held and nothing on its way."""
        return not (self.hold or self.reserved or self.stopping or self.asking)

    @property
    def may_sleep(self) -> bool:
        """Its memory is worth nothing more than its rows: nobody is connected, and it `is_idle`."""
        return self.session is None and self.is_idle

    @property
    def withheld(self) -> str:
        """Why it gets no new work, whatever it does now: "paused", "draining", or "" when neither."""
        if self.paused:
            return "paused"
        return "draining" if self.draining or self.drained else ""

    def is_free(self, now: Now) -> bool:
        return self.is_idle and self._takes_work(now)

    def is_finishing(self, now: Now) -> bool:
        """It said that it is done with what it holds. The next task may be claimed behind that report, in the same
        commit: the lane judges the report first, and gives nothing more while it does not count.
        """
        hold = self.hold
        nothing_else = not (self.reserved or self.stopping or self.asking)
        return hold is not None and hold.is_finishing and nothing_else and self._takes_work(now)

    def _takes_work(self, now: Now) -> bool:
        session = self.session
        ready = session is not None and session.welcomed and session.proven
        return ready and not self.withheld and self.rests_until <= now.mono

    def state(self, now: Now) -> str:
        if self.session is None:  # nobody is there who could stop, or fail to
            return "away" if self.hold else "offline"
        if self.stopping:
            return "unresponsive" if self.stopping.is_late(now.mono, self.policy) else "stopping"
        if self.hold:
            return self.hold.phase
        if self.withheld:
            return self.withheld
        if self.rests_until > now.mono:
            return "resting"
        if self.reserved and not self.reserved.reclaim:
            return "idle"  # an offer is on its way through the lane: a moment's matter
        return "idle" if self.is_free(now) else "checking"

    def announce(self, now: Now) -> tuple[Output, ...]:
        """Tell the scheduler and presence whatever changed since they heard last."""
        state = self.state(now)
        kind = AgentReady if self.is_finishing(now) else self._kind(state)
        outputs: tuple[Output, ...] = ()
        on_offer = kind is AgentPresent and self.reserved is not None and not self.reserved.reclaim
        # of its own offer it need not be told
        if self.told != (kind, self.row.capabilities) and not on_offer:
            self.told = (kind, self.row.capabilities)
            outputs = (Output("scheduler", self._news(kind)),)
        return (*outputs, *self._show(state, now))

    def _news(self, kind: type[AgentGone | AgentPresent | AgentReady]) -> Any:
        if kind is AgentGone:
            return AgentGone(self.id, self.incarnation)
        return kind(self.id, self.incarnation, self.row.capabilities)  # type: ignore[call-arg]

    def _kind(self, state: str) -> type[AgentGone | AgentPresent | AgentReady]:
        """What the scheduler should take it for."""
        session = self.session
        if session is None or not session.welcomed or self.withheld or state == "unresponsive":
            return AgentGone
        return AgentReady if state == "idle" and self.reserved is None else AgentPresent

    def _show(self, state: str, now: Now) -> tuple[Output, ...]:
        """Presence's part, unless it heard of us just now: then it is shown later, by time."""
        if now.mono < self.show_at < float("inf"):
            return ()  # whatever it will be by then
        hold, session = self.hold or self.stopping, self.session
        task = (hold.task_id, hold.generation) if hold else ("", 0)
        since, name = (session.since_ms, session.name) if session else (0, "")
        shown = (state, *task, self.row.capabilities, since, self.status, name, self.withheld)
        if shown == self.shown:
            self.show_at = float("inf")
            return ()
        is_work = self.shown is not None and shown[3:] == self.shown[3:]
        if is_work and now.mono < self.shown_at + SHOW_S:
            self.show_at = self.shown_at + SHOW_S
            return ()
        self.shown, self.shown_at, self.show_at = shown, now.mono, float("inf")
        return (Output("presence", self._for_presence(shown, now)),)

    def _for_presence(self, shown: tuple[Any, ...], now: Now) -> AgentStatus:
        state, task_id, generation, capabilities, since_ms, status, name, withheld = shown
        return AgentStatus(
            agent_id=self.id, state=state, task_id=task_id, generation=generation, capabilities=capabilities,
            connected_ms=since_ms, since_ms=now.ms, status=status, name=name, withheld=withheld,
        )  # fmt: skip

    def _say(self, *frames: Any) -> tuple[Output, ...]:
        """To the live session, if there is one."""
        return tuple(self._to(self.session.conn, frame) for frame in frames) if self.session else ()

    def _to(self, conn: str, frame: Any) -> Output:
        return Output("gateway", ToSession(conn, frame))

    def _lane(self, lane: Lane, message: Any) -> Output:
        return Output(f"lane.{lane}", message)

    # --- changes that several messages make ---------------------------------------------------------

    def _abort(self, key: Key, why: str, now: Now) -> None:
        """Told with each heartbeat until it is no longer listed; we are busy as long."""
        self.aborts[key] = why
        self.verdicts[key] = Verdict(*key, "abort", why)
        if self.hold is None and (
            self.stopping is None or self.stopping.key != key or self.stopping.may_return
        ):
            self.stopping = Stopping(*key, since=now.mono, may_return=False, reason=why)

    def _forget(self, key: Key) -> None:
        """A final answer: whoever held it is free of it."""
        self.finished[key] = None
        while len(self.finished) > KEEP_FINISHED:
            del self.finished[next(iter(self.finished))]
        self.aborts.pop(key, None)
        if self.hold and self.hold.key == key:
            self.hold = None
        if self.stopping and self.stopping.key == key:
            self.stopping = None

    def _strike(self, now: Now) -> None:
        """Circuit breaker: time-outs and rejects in a row earn a rest."""
        self.strikes += 1
        if self.strikes >= self.policy.breaker_timeouts:
            self.strikes = 0
            self.rests_until = now.mono + self.policy.breaker_rest_s

    def _push(self, now: Now) -> tuple[Output, ...]:
        """An assignment that was not accepted is sent again, under the same generation; not while its client still
        lists what it was told to stop, as each has one task at a time.
        """
        hold, session = self.hold, self.session
        if hold is None or hold.phase != "assigned" or session is None or not session.welcomed:
            return ()
        if hold.pushed == session.conn or (self.aborts and not session.silent):
            return ()
        hold.pushed, hold.pushed_at = session.conn, now.mono
        return self._say(hold.assign)

    def _answer_again(self) -> tuple[Output, ...]:
        """An operator's answer that no report confirmed yet, from the task's row: whoever was to tell it, or to hear
        it, may have been gone. It may come twice.
        """
        hold, session = self.hold, self.session
        if hold is None or session is None or not session.welcomed:
            return ()
        row = self.rows.get("task", (hold.task_id,))
        if row is None or not row.answer or (row.holder, row.generation) != (self.id, hold.generation):
            return ()
        return self._tell_answer(hold, row.answer)

    def _tell_answer(self, hold: Hold, answer: str) -> tuple[Output, ...]:
        """Before the welcome nothing is said: it comes behind it."""
        hold.phase = "working"
        if self.session is None or not self.session.welcomed:
            return ()
        return self._say(TaskAnswer(task_id=hold.task_id, generation=hold.generation, answer=answer))

    def _replaced(self, conn: str) -> Output:
        return Output("gateway", EndSession(conn, CLOSE_CODES["replaced"], "replaced by a newer session"))

    def _restarted(self, conn: str) -> Output:
        """Its client comes again and resumes."""
        return Output(
            "gateway", EndSession(conn, CLOSE_CODES["restarted"], "a part of the hub started again")
        )
