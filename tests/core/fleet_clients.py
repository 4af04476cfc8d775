"""Simulated sidecars: the client's own sans-I/O core, and what its shells do around it."""

from typing import Any, NamedTuple

from agentcom.protocol import frames
from agentcom.protocol.frames import CLOSE_CODES
from agentcom.session_state import Accepted, Answered, Assigned, Event, Online, SessionState, Settled, Stop

BEAT_S, SILENT_S, WELCOME_S = 15.0, 45.0, 20.0
FATAL = {CLOSE_CODES["replaced"], CLOSE_CODES["other_instance"]}
NEVER = float("inf")


class Said(NamedTuple):
    """A frame on its way to the gateway; None: the connection ended."""

    conn: str
    frame: Any


class Close(NamedTuple):
    code: int


class Sidecar:
    """One instance of one agent's sidecar. Its Minds do nothing until the test says how they end."""

    def __init__(self, fleet: Any, agent: str, instance: str, capabilities: tuple[str, ...]) -> None:
        self.fleet, self.agent, self.instance = fleet, agent, instance
        self.capabilities = list(capabilities)
        self.state = SessionState()
        self.conn = ""
        self.welcomed = self.retired = False
        self.heard = self.next_beat = 0.0
        self.works: dict[str, int] = {}  #: running Minds: task to the generation it was assigned with
        self.undecided: list[tuple[str, int]] = []
        self.stops: list[Stop] = []
        self.continued: set[tuple[str, int]] = set()
        self.answers: list[str] = []  #: by operators, to the questions of its Minds
        self._dialled = 0

    def __repr__(self) -> str:
        return f"{self.agent}/{self.instance}"

    # --- connection --------------------------------------------------------------------------------

    def connect(self, *, takeover: bool = False) -> None:
        life = self.fleet.up.get("gateway")
        if self.conn or not life:
            return
        if self.retired:
            self._new_life()
        self._dialled += 1
        self.conn = f"{self!r}/{life}.{self._dialled}"
        self.heard = self.fleet.clock.mono
        self._say(frames.Hello(
            agent_id=self.agent, instance=self.instance, capabilities=self.capabilities, takeover=takeover,
            resume=frames.Resume(tasks=self.state.listed(self._alive)),
        ))  # fmt: skip

    def _say(self, frame: Any) -> None:
        life = int(self.conn.rpartition("/")[2].partition(".")[0])
        self.fleet.net.post(self.conn, "gateway", life, Said(self.conn, frame))

    def _alive(self, task_id: str) -> bool:
        return task_id in self.works

    def drop(self, *, lose: bool = True) -> None:
        """The network fails. What was under way to us is lost, what we said if `lose`."""
        if self.conn:
            self.fleet.net.drop(src=self.conn if lose else "", dst=self.conn)
            self._say(None)
            self.cut()

    def cut(self) -> None:
        self.conn, self.welcomed = "", False
        self.state.lost("connection lost")
        self.flush()

    def restart(self) -> None:
        """The process ends and a new one goes on from what was saved; its Minds live on."""
        self.drop()
        self.state = SessionState(self.state.saved())
        self.stops = []
        self._take_up()

    def _new_life(self) -> None:
        """It had ended for good, with all its Minds: what they worked on failed."""
        self.retired = False
        self.state = SessionState(self.state.saved())
        self.stops = []
        self._take_up()

    def _take_up(self) -> None:
        for task_id, entry in list(self.state.tasks.items()):
            if entry.stop:
                self.stops.append(Stop(task_id, entry.generation, entry.stop, entry.reason))
            elif self.state.is_reported(task_id):
                continue
            elif entry.phase == "assigned":
                self.undecided.append((task_id, entry.generation))
            elif task_id not in self.works:
                self.state.finish(
                    frames.TaskFail(task_id=task_id, generation=entry.generation, reason="killed")
                )
        self.flush()

    # --- the hub's frames --------------------------------------------------------------------------

    def receive(self, frame: Any) -> None:
        if isinstance(frame, Close):
            self._closed(frame.code)
            return
        self.heard = self.fleet.clock.mono
        if not self.welcomed and not isinstance(frame, frames.Welcome):
            self._refused(frame)
            return
        if isinstance(frame, frames.Welcome):
            self.welcomed, self.next_beat = True, self.fleet.clock.mono + BEAT_S
        self.state.receive(frame)
        self.flush()

    def _refused(self, frame: Any) -> None:
        assert isinstance(frame, frames.ErrorFrame), f"{frame} before a welcome"
        self._say(None)
        self._closed(CLOSE_CODES["other_instance"] if frame.code == "conflict" else 1006)

    def _closed(self, code: int) -> None:
        if code in FATAL:
            self.retired = True
            self.works, self.undecided = {}, []
        self.cut()

    def flush(self) -> None:
        todo = self.state.take()
        for frame in todo.sends:
            if self.conn and self.welcomed:
                self._say(frame)
        for event in todo.events:
            self._on(event)

    def _on(self, event: Event) -> None:
        match event:
            case Assigned(assign):
                others = [
                    of for of in self.state.tasks if of != assign.task_id and not self.state.is_reported(of)
                ]
                assert not others, f"{self!r} is given {assign.task_id} while it lists {others}"
                self.undecided.append((assign.task_id, assign.generation))
            case Accepted(task_id):
                self._begin(task_id)
            case Stop():
                self.stops.append(event)
            case Settled(task_id):
                self.works.pop(task_id, None)
            case Answered():
                self.answers.append(event.answer)
            case Online(welcome):
                self.continued |= {
                    (of.task_id, of.generation) for of in welcome.tasks if of.action == "continue"
                }

    def _begin(self, task_id: str) -> None:
        entry = self.state.tasks.get(task_id)
        if entry is None or entry.stop or self.works.get(task_id) == entry.assign.generation:
            return
        self.works[task_id] = entry.assign.generation
        if (task_id, entry.generation) not in self.continued:
            self.fleet.starts.append((task_id, entry.generation, repr(self)))

    # --- time --------------------------------------------------------------------------------------

    def next_wake(self) -> float:
        if not self.conn:
            return NEVER
        return min(self.heard + SILENT_S, self.next_beat) if self.welcomed else self.heard + WELCOME_S

    def wake(self) -> None:
        now = self.fleet.clock.mono
        if not self.conn or self.next_wake() > now:
            return
        if not self.welcomed or self.heard + SILENT_S <= now:
            self.drop()
        else:
            self.beat()

    def beat(self) -> None:
        if self.welcomed:
            self.next_beat = self.fleet.clock.mono + BEAT_S
            self._say(frames.Heartbeat(tasks=self.state.listed(self._alive)))
            self.state.tick()
            self.flush()

    # --- decisions and Minds -----------------------------------------------------------------------

    def decide(self, *, accept: bool = True) -> None:
        """Answer the oldest assignment."""
        if not self.undecided:
            return
        task_id, generation = self.undecided.pop(0)
        others = [of for of in self.works if of != task_id and not self.state.is_reported(of)]
        if others or not accept:
            self.state.reject(task_id, generation, "this agent holds another task")
        else:
            self.state.accept(task_id, generation)
        self.flush()

    def obey(self) -> None:
        """What was to be stopped has stopped."""
        stops, self.stops = self.stops, []
        for stop in stops:
            entry = self.state.tasks.get(stop.task_id)
            self.works.pop(stop.task_id, None)
            if entry is not None and entry.stop:
                self.state.stopped(stop.task_id, entry.generation)
        self.flush()

    def mind(self, how: str) -> None:
        """The oldest running Mind does something."""
        for task_id in self.works:
            entry = self.state.tasks.get(task_id)
            if entry and not entry.stop and not self.state.is_reported(task_id):
                self._report(how, task_id, entry.generation)
                self.flush()
                return

    def _report(self, how: str, task_id: str, generation: int) -> None:
        key = {"task_id": task_id, "generation": generation}
        match how:
            case "complete":
                self.state.finish(frames.TaskComplete(**key, result=frames.TaskResult(summary=repr(self))))
            case "fail":
                self.state.finish(frames.TaskFail(**key, reason="no luck"))
            case "hopeless":
                self.state.finish(frames.TaskFail(**key, reason="hopeless", retryable=False))
            case "reject":
                self.state.reject(task_id, generation, "not for me")
            case "block":
                self.state.block(task_id, generation, "how?")
            case "unblock":
                self.state.unblock(task_id, generation)
            case "progress":
                self.state.progress(frames.TaskProgress(**key, note="on it"))
