"""Simulated sidecars: the client's own sans-I/O core, a connection, and Minds that take time and end in all ways.

A sidecar's memory of held tasks and unsent reports survives its restart, as its file does; its Minds live on.
"""

from random import Random
from typing import Any

import msgspec

from agentcom.protocol import frames
from agentcom.protocol.frames import CLOSE_CODES
from agentcom.session_state import Accepted, Answered, Assigned, Event, Online, SessionState, Settled, Stop
from hubsim.agenda import Agenda
from hubsim.network import Line, Network
from hubsim.oracle import Oracle, Violation

FATAL = {CLOSE_CODES["replaced"], CLOSE_CODES["other_instance"]}
ENDS = (
    ("complete", 60), ("progress", 15), ("block", 8), ("fail", 8), ("reject", 4), ("hopeless", 2), ("never", 3)
)  # fmt: skip
_encode: Any = {"json": msgspec.json.Encoder().encode, "msgpack": msgspec.msgpack.Encoder().encode}
_decode: Any = {
    "json": msgspec.json.Decoder(frames.OutboundFrame).decode,
    "msgpack": msgspec.msgpack.Decoder(frames.OutboundFrame).decode,
}


class Outside:
    """What every sidecar of a run shares."""

    def __init__(self, agenda: Agenda, net: Network, oracle: Oracle, draw: Random) -> None:
        self.agenda, self.net, self.oracle, self.draw = agenda, net, oracle, draw
        self.heartbeat_s = 5.0
        self.calm = False  #: from now on every Mind does its work

    @property
    def silent_s(self) -> float:
        return 3 * self.heartbeat_s


class Sidecar:
    """One instance of one agent's sidecar."""

    def __init__(
        self, world: Outside, agent: str, instance: str, capabilities: tuple[str, ...], codec: str
    ) -> None:
        self.world, self.agent, self.instance, self.codec = world, agent, instance, codec
        self.token = ""
        self.secret = f"secret-of-{agent}"
        self.capabilities = list(capabilities)
        self.state = SessionState()
        self.line: Line | None = None
        self.welcomed = self.retired = False
        self.heard = self.away_until = 0.0
        self.works: dict[str, int] = {}  #: running Minds: task to the generation it was assigned with
        self.continued: set[tuple[str, int]] = set()
        self._life = 0  #: timers of an earlier one mean nothing

    def __repr__(self) -> str:
        return f"{self.agent}/{self.instance}"

    def _after(self, low: float, high: float, call: Any, *args: Any) -> None:
        life = self._life
        self.world.agenda.after(
            self.world.draw.uniform(low, high), lambda: call(*args) if life == self._life else None
        )

    # --- connection --------------------------------------------------------------------------------

    def dial(self, *, takeover: bool = False) -> None:
        if self.line is not None:
            return
        if (wait := self.away_until - self.world.agenda.clock.monotonic()) > 0 and not self.world.calm:
            self._after(wait, wait + 0.01, self.dial)
            return
        if self.retired:
            self._new_life()
        line = self.line = Line(self.world.net, self)
        self.heard = self.world.agenda.clock.monotonic()
        line.dial()
        self._say(frames.Hello(
            agent_id=self.agent, instance=self.instance, token=self.secret, capabilities=self.capabilities,
            takeover=takeover, resume=frames.Resume(tasks=self.state.listed(self._alive)),
        ))  # fmt: skip
        self._after(self.world.silent_s, self.world.silent_s, self._look, line)

    def _alive(self, task_id: str) -> bool:
        return task_id in self.works

    def _say(self, frame: Any) -> None:
        if self.line is not None:
            self.line.say(_encode[self.codec](frame))

    def _look(self, line: Line) -> None:
        """A hub that was silent for too long is called anew."""
        if line is not self.line:
            return
        now = self.world.agenda.clock.monotonic()
        limit = self.world.silent_s
        if self.heard + limit <= now:
            line.hang_up()
            self._lost()
        else:
            self._after(self.heard + limit - now, self.heard + limit - now + 0.01, self._look, line)

    def received(self, line: Line, data: bytes) -> None:
        if line is not self.line:
            return
        frame = _decode[self.codec](data)
        self.heard = self.world.agenda.clock.monotonic()
        if isinstance(frame, frames.Welcome):
            self.welcomed = True
            self._after(0.5, self.world.heartbeat_s, self._beat, line)
        if self.welcomed:
            self.state.receive(frame)
            self.flush()
        elif not isinstance(frame, frames.ErrorFrame | frames.Goodbye):
            raise Violation(f"{self!r} hears {frame} before a welcome")

    def ended(self, line: Line, code: int) -> None:
        if line is not self.line:
            return
        self.world.net.forget(line)
        if code in FATAL:
            self._retire()
        self._lost()

    def _lost(self) -> None:
        self.line, self.welcomed = None, False
        self.state.lost("connection lost")
        self.flush()
        if not self.retired:
            self._after(0.1, 3.0, self.dial)

    def _beat(self, line: Line) -> None:
        if line is not self.line:
            return
        self._say(frames.Heartbeat(tasks=self.state.listed(self._alive)))
        self.state.tick()
        self.flush()
        self._after(self.world.heartbeat_s, self.world.heartbeat_s, self._beat, line)

    def isolate(self, seconds: float) -> None:
        """No network for so long; its Minds go on, and their reports wait."""
        self.away_until = self.world.agenda.clock.monotonic() + seconds
        if self.line is not None:
            self.line.cut(lose=True)

    def come_back(self) -> None:
        self.away_until = 0.0
        self.dial()

    # --- lives -------------------------------------------------------------------------------------

    def restart(self) -> None:
        """The process ends and a new one goes on from its file; its Minds live on."""
        if self.line is not None:
            self.line.hang_up()
        self.line, self.welcomed = None, False
        self._take_up()
        self._after(0.1, 3.0, self.dial)

    def _retire(self) -> None:
        """Another instance has its place: it ends for good, with all its Minds."""
        self.retired = True
        self._life += 1
        self.works = {}

    def _new_life(self) -> None:
        self.retired = False
        self._take_up()

    def _take_up(self) -> None:
        """From what is on its disk: a Mind that is gone has failed, one that runs is minded on."""
        self._life += 1
        self.state = SessionState(self.state.saved())
        for task_id, entry in list(self.state.tasks.items()):
            if entry.stop:
                self._after(0.1, 2.0, self._obey, task_id, entry.generation)
            elif self.state.is_reported(task_id):
                continue
            elif entry.phase == "assigned" and task_id not in self.works:
                self._after(0.01, 1.0, self._decide, task_id, entry.generation)
            elif task_id not in self.works:
                self._finish(frames.TaskFail(task_id=task_id, generation=entry.generation, reason="killed"))
            else:
                self._after(0.1, 4.0, self._mind, task_id)
        self.flush()

    # --- what the hub says -------------------------------------------------------------------------

    def flush(self) -> None:
        todo = self.state.take()
        for frame in todo.sends:
            if self.welcomed:
                self._say(frame)
        for event in todo.events:
            self._on(event)
        for again in todo.again:
            self._after(again.after_ms / 1000, again.after_ms / 1000, self._again, again.id)

    def _again(self, report_id: str) -> None:
        self.state.resend(report_id)
        self.flush()

    def _on(self, event: Event) -> None:
        match event:
            case Assigned(assign):
                self._assigned(assign)
            case Accepted(task_id):
                self._begin(task_id)
            case Stop(task_id, generation, kind):
                if kind == "superseded":
                    self.works.pop(task_id, None)
                else:
                    self._after(0.05, 2.0, self._obey, task_id, generation)
            case Settled(task_id, generation, status):
                self.works.pop(task_id, None)
                self.world.oracle.settled(self.agent, task_id, generation, status)
            case Answered(task_id, generation):
                self._after(0.05, 2.0, self._answered, task_id, generation)
            case Online(welcome):
                self.continued |= {
                    (of.task_id, of.generation) for of in welcome.tasks if of.action == "continue"
                }

    def _assigned(self, assign: frames.TaskAssign) -> None:
        """An assignment may be late, and stale by then; but who works is given nothing else."""
        others = [of for of in self.works if of != assign.task_id and self._goes_on(of)]
        if others:
            raise Violation(f"{self!r} is given {assign.task_id} while it works on {others}")
        self._after(0.01, 0.5, self._decide, assign.task_id, assign.generation)

    def _goes_on(self, task_id: str) -> bool:
        entry = self.state.tasks.get(task_id)
        return entry is not None and not entry.stop and not self.state.is_reported(task_id)

    def _decide(self, task_id: str, generation: int) -> None:
        """Take it, as a rule."""
        entry = self.state.tasks.get(task_id)
        if entry is None or entry.generation != generation or entry.phase != "assigned" or entry.stop:
            return
        others = [of for of in self.works if of != task_id and not self.state.is_reported(of)]
        luck = 0.0 if self.world.calm else self.world.draw.random()
        if others or luck > 0.95:
            self.state.reject(task_id, generation, "not for me")
        elif luck < 0.92:
            self.state.accept(task_id, generation)
        self.flush()  # else it says nothing: the lease to accept runs out

    def _begin(self, task_id: str) -> None:
        entry = self.state.tasks.get(task_id)
        if entry is None or entry.stop or self.works.get(task_id) == entry.assign.generation:
            return
        self.works[task_id] = entry.assign.generation
        if (task_id, entry.generation) not in self.continued:
            self.world.oracle.started(task_id, entry.generation, repr(self))
        self._after(0.1, 4.0, self._mind, task_id)

    def _obey(self, task_id: str, generation: int) -> None:
        """What was to be stopped has stopped; it may work on the same task anew by then."""
        entry = self.state.tasks.get(task_id)
        if self.works.get(task_id, 0) <= generation:
            self.works.pop(task_id, None)
        if entry is not None and entry.stop:
            self.state.stopped(task_id, entry.generation)
            self.flush()

    # --- Minds -------------------------------------------------------------------------------------

    def _mind(self, task_id: str) -> None:
        """The Mind of this task does something. One that asked waits: an answer that is lost, it waits for for ever."""
        entry = self.state.tasks.get(task_id)
        if entry is None or entry.stop or task_id not in self.works or self.state.is_reported(task_id):
            return
        if entry.phase == "blocked":
            self._after(1.0, 10.0, self._mind, task_id)
            return
        if self.world.calm:
            how = "complete"
        else:
            [how] = self.world.draw.choices([end for end, _ in ENDS], [weight for _, weight in ENDS])
        self._do(how, task_id, entry.generation)
        self.flush()
        if how in ("progress", "never", "block"):
            self._after(1.0, 10.0, self._mind, task_id)

    def _answered(self, task_id: str, generation: int) -> None:
        self.state.unblock(task_id, generation)
        self.flush()

    def _do(self, how: str, task_id: str, generation: int) -> None:
        key: dict[str, Any] = {"task_id": task_id, "generation": generation}
        match how:
            case "complete":
                self._finish(frames.TaskComplete(**key, result=frames.TaskResult(summary=repr(self))))
            case "fail":
                self._finish(frames.TaskFail(**key, reason="no luck"))
            case "hopeless":
                self._finish(frames.TaskFail(**key, reason="hopeless", retryable=False))
            case "reject":
                self.state.reject(task_id, generation, "not for me after all")
            case "block":
                self.state.block(task_id, generation, "how?")
            case "progress":
                self.state.progress(frames.TaskProgress(**key, note="on it"))

    def _finish(self, report: frames.TaskComplete | frames.TaskFail) -> None:
        self.state.finish(report)

    def nudge(self) -> None:
        """The calm has begun: whatever was left undone is taken up."""
        for task_id, entry in list(self.state.tasks.items()):
            if entry.phase == "assigned" and task_id not in self.works:
                self._after(0.01, 0.5, self._decide, task_id, entry.generation)
            elif task_id in self.works:
                self._after(0.1, 1.0, self._mind, task_id)
