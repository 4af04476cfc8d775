"""What left the hub, held against what was on disk then: nobody may be told what a restart could take back."""

from typing import Any

import msgspec

from agentcom.core.answers import Answer
from agentcom.protocol import frames
from agentcom.protocol.bodies import BatchAnswer, Operated, Submitted
from agentcom.protocol.rows import HELD, LANES
from agentcom.protocol.views import TaskView
from hubsim.ledger import Ledger, Violation, holds

__all__ = ["Oracle", "Violation"]

_decode: Any = {
    "json": msgspec.json.Decoder(frames.OutboundFrame).decode,
    "msgpack": msgspec.msgpack.Decoder(frames.OutboundFrame).decode,
}


class Oracle:
    """`fresh` brings the ledger up to what is on disk before a word is judged."""

    def __init__(self, ledger: Ledger, fresh: Any) -> None:
        self.ledger, self._fresh = ledger, fresh
        self.broken: list[Violation] = []  #: found where it could not be raised
        self.acked: dict[str, str] = {}  #: key to task
        self.ends: dict[tuple[str, int], tuple[str, str]] = {}  #: what an agent was told of its final report
        self.starts: dict[tuple[str, int], str] = {}

    # --- what clients know -------------------------------------------------------------------------

    def acknowledged(self, key: str, task_id: str) -> None:
        first = self.acked.setdefault(key, task_id)
        holds(first == task_id, "key", key, "was answered", first, "and later", task_id)

    def started(self, task_id: str, generation: int, who: str) -> None:
        first = self.starts.setdefault((task_id, generation), who)
        holds(
            first == who, who, "starts generation", generation, "of", task_id, "which", first, "had started"
        )

    def settled(self, agent: str, task_id: str, generation: int, status: str) -> None:
        if status:
            self.ends[task_id, generation] = (agent, status)

    # --- what leaves the hub -----------------------------------------------------------------------

    def told_answer(self, route: str, args: dict[str, str], answer: Answer) -> None:
        self._fresh()
        body = answer.body
        if isinstance(body, Submitted):
            self._submitted(body)
        elif isinstance(body, BatchAnswer):
            for item in body.tasks:
                if isinstance(item, Submitted):
                    self._submitted(item)
        elif isinstance(body, TaskView):
            holds(
                (body.generation, body.status) in self.ledger.said[body.id],
                "shown a",
                body.status,
                body.id,
                "that is not on disk",
            )
        elif isinstance(body, Operated):
            self._operated(route, body)

    def _submitted(self, said: Submitted) -> None:
        holds(said.task_id in self.ledger.tasks, "acknowledged", said.task_id, "which is not on disk")

    def _operated(self, route: str, said: Operated) -> None:
        phases = {phase for _, phase in self.ledger.said.get(said.task_id, ())}
        holds(
            said.status in phases, route, "told that", said.task_id, "is", said.status, "which is not on disk"
        )
        lane, lanes = said.priority, self.ledger.lanes.get(said.task_id, set())
        holds(lane in lanes or LANES.index(lane) in lanes, route, "told lane", lane, "not on disk")

    def told_frame(self, client: Any, data: bytes) -> None:
        self._fresh()
        frame = _decode[client.codec](data)
        match frame:
            case frames.TaskAssign(task_id=task_id, generation=generation):
                self._is_holder(client.agent, task_id, generation, "given")
            case frames.TaskAck():
                self._acked(client.agent, frame)
            case frames.Welcome(tasks=verdicts):
                for of in verdicts:
                    if of.action == "continue":
                        self._is_holder(client.agent, of.task_id, of.generation, "told to go on with")
            case frames.TaskCancel(task_id=task_id, generation=generation):
                task = self.ledger.tasks[task_id]
                held = (task.holder, task.generation) == (client.agent, generation) and task.phase in HELD
                holds(not held, client.agent, "is told to stop", task_id, "which it holds on disk")
            case frames.ErrorFrame(code="stale_generation", task_id=task_id, generation=generation):
                newest = self.ledger.tasks[task_id].generation
                holds(
                    newest > (generation or 0), task_id, "is told stale at", generation, "on disk is", newest
                )

    def _is_holder(self, agent: str, task_id: str, generation: int, what: str) -> None:
        holder = self.ledger.minted.get((task_id, generation))
        holds(holder == agent, agent, "is", what, task_id, generation, "which on disk is", holder)

    def _acked(self, agent: str, ack: frames.TaskAck) -> None:
        key = (ack.task_id, ack.generation)
        if ack.status == "stopped":
            return
        if ack.status in ("accepted", "working", "blocked"):
            said = self.ledger.said.get(ack.task_id, set())
            taken = any(g == ack.generation and phase in ("working", "blocked") for g, phase in said)
            holds(taken, ack.status, "told for", key, "which was not accepted on disk")
        else:
            known = self.ledger.statuses.get(key)
            holds(known == ack.status, ack.status, "told for", key, "on disk it is", known)

    # --- the end -----------------------------------------------------------------------------------

    def check_words(self) -> None:
        """Everything that anybody was told still stands."""
        for key, task_id in self.acked.items():
            holds(task_id in self.ledger.tasks, "acknowledged task", task_id, "of", key, "is gone")
        for (task_id, generation), (agent, status) in self.ends.items():
            if status == "completed":
                done = self.ledger.completed.get(task_id)
                holds(done == (generation, agent), agent, "was told that its", task_id, "counts; it is", done)
                holds(
                    self.ledger.tasks[task_id].phase == "completed", task_id, "was completed and is not now"
                )
