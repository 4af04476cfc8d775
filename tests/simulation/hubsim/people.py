"""Who submits, and who meddles: HTTP clients that send again, with the same key, what was not answered."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import msgspec

from agentcom.core.answers import Answer
from agentcom.protocol.bodies import BatchAnswer, ErrorBody, Submitted
from agentcom.protocol.errors import CALLER_LATER
from agentcom.protocol.rows import LANES
from hubsim.agenda import Agenda
from hubsim.network import Network
from hubsim.oracle import Oracle, Violation
from hubsim.plan import Meddling, Pausing, Work

PATIENCE_S = 12.0
"""A client that heard nothing for so long asks again."""
OPERATOR = "secret-of-op"
BODIES: dict[str, Callable[[Random], Any]] = {
    "cancel": lambda _: {"reason": "no longer wanted"},
    "retry": lambda _: {},
    "prioritise": lambda draw: {"priority": draw.choice(LANES)},
    "answer": lambda _: {"answer": "so"},
}


class People:
    """All of them, as one operator's token."""

    def __init__(self, agenda: Agenda, net: Network, oracle: Oracle, draw: Random) -> None:
        self._agenda, self._net, self._oracle, self._draw = agenda, net, oracle, draw
        self._keys = 0
        self.pending: set[str] = set()  #: keys of submits that nobody has answered yet

    # --- work --------------------------------------------------------------------------------------

    def begin(self, work: Sequence[Work], meddling: Sequence[Meddling], pausing: Sequence[Pausing]) -> None:
        at = 0.0
        for one in work:
            at += one.after
            self._agenda.after(at, self._submit, one)
        at = 0.0
        for act in meddling:
            at += act.after
            self._agenda.after(at, self._meddle, act)
        at = 0.0
        for pause in pausing:
            at += pause.after
            self._agenda.after(at, self.pause, pause)

    def _submit(self, work: Work) -> None:
        self._keys += 1
        key = f"key-{self._keys}"
        tasks = [_task(work, n, self._agenda.clock.now()) for n in range(work.count)]
        if work.count == 1:
            route, body, keys = "task.submit", tasks[0], [key]
        else:
            route, body, keys = "task.batch", {"tasks": tasks}, [f"{key}.{n}" for n in range(work.count)]
        self.pending |= set(keys)
        self._send_submit(route, {"idempotency-key": key}, msgspec.json.encode(body), keys)

    def _send_submit(self, route: str, args: dict[str, str], body: bytes, keys: list[str]) -> None:
        asked = False

        def again() -> None:
            nonlocal asked
            if not asked and self.pending & set(keys):
                asked = True
                self._send_submit(route, args, body, keys)

        def answered(answer: Answer | None) -> None:
            if answer is None or self._submitted(keys, answer):
                self._agenda.after(self._draw.uniform(0.2, 3.0), again)

        self._ask(route, args, body, answered)
        self._agenda.after(PATIENCE_S, again)

    def _submitted(self, keys: list[str], answer: Answer) -> bool:
        """Note what was acknowledged; whether some of it should be sent again."""
        entries = answer.body.tasks if isinstance(answer.body, BatchAnswer) else [answer.body] * len(keys)
        missing = False
        for key, entry in zip(keys, entries, strict=True):
            if isinstance(entry, Submitted):
                self.pending.discard(key)
                self._oracle.acknowledged(key, entry.task_id)
            elif isinstance(entry, ErrorBody) and entry.error in CALLER_LATER:
                missing = True
            elif isinstance(entry, ErrorBody) and entry.path == "complete_by":
                self.pending.discard(key)  # sent again too late
            else:
                raise Violation(f"a good submit with key {key} is answered {entry}")
        return missing

    # --- meddling ----------------------------------------------------------------------------------

    def _meddle(self, act: Meddling) -> None:
        known = sorted(self._oracle.acked.values())
        if known:
            self.act(act.verb, known[act.pick % len(known)])

    def act(self, verb: str, task_id: str) -> None:
        if verb == "read":
            self._ask("task.get", {"task_id": task_id}, b"", lambda _: None)
        else:
            body = msgspec.json.encode(BODIES[verb](self._draw))
            self._ask(f"task.{verb}", {"task_id": task_id}, body, lambda _: None)

    def pause(self, pause: Pausing) -> None:
        """Said once: whether it was heard is not known, as when a person walks away."""
        kind = pause.route.partition(".")[0]
        args = {"lane": {"lane": pause.name}, "agent": {"agent_id": pause.name}}.get(kind, {})
        self._ask(pause.route, args, b"", lambda _: None)

    def resume(self, pausing: Sequence[Pausing]) -> None:
        """Whatever any of these may have stopped."""
        for kind, name in sorted({(of.route.partition(".")[0], of.name) for of in pausing}):
            self.pause(Pausing(0.0, f"{kind}.resume", name))

    def _ask(
        self, route: str, args: dict[str, str], body: bytes, answered: Callable[[Answer | None], None]
    ) -> None:
        def send(back: Callable[[Any], None]) -> None:
            self._net.edge().ask(route, args, OPERATOR, body, back)

        self._net.request(send, answered)


def _task(work: Work, number: int, now_s: float) -> dict[str, Any]:
    task: dict[str, Any] = {
        "description": f"work {number}",
        "priority": work.lane,
        "needed_capabilities": list(work.needs),
    }
    if work.target:
        task["target"] = work.target
    if work.delay_s:
        task["not_before"] = int((now_s + work.delay_s) * 1000)
    if work.deadline_s:
        task["complete_by"] = int((now_s + work.deadline_s) * 1000)
    return task
