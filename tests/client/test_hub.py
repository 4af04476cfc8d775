"""The HTTP client against scripted answers: keys, retries, errors."""

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from typing import Any

import httpx
import msgspec
import pytest

from agentcom.client import AgentSession, Hub, SyncHub, new_key
from agentcom.protocol import bodies, errors

Answer = httpx.Response | Exception


class Script:
    """Answers in order, the last one for ever; remembers what it was sent."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.sent: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def bodies(self) -> list[dict[str, Any]]:
        return [msgspec.json.decode(request.content) for request in self.sent]


def hub(script: Script, **more: Any) -> Hub:
    return Hub("http://hub.invalid", "secret", transport=httpx.MockTransport(script), **more)


def ask(script: Script, call: Callable[[Hub], Coroutine[Any, Any, Any]], **more: Any) -> Any:
    async def run() -> Any:
        async with hub(script, **more) as it:
            return await call(it)

    return asyncio.run(run())


def submitted(task_id: str = "t1") -> httpx.Response:
    return httpx.Response(201, json={"task_id": task_id, "status": "queued", "priority": 2, "created_at": 1})


def refusal(status: int, code: str, **more: Any) -> httpx.Response:
    return httpx.Response(status, json={"error": code, "message": "why", **more})


def test_a_submit_always_carries_a_key() -> None:
    script = Script(submitted())
    assert ask(script, lambda it: it.submit("do it", priority="high")).task_id == "t1"
    sent = script.bodies()[0]
    assert (sent["description"], sent["priority"]) == ("do it", "high")
    assert len(sent["idempotency_key"]) == 32
    assert script.sent[0].headers["Authorization"] == "Bearer secret"


def test_a_key_that_was_given_is_kept() -> None:
    script = Script(submitted())
    ask(script, lambda it: it.submit(bodies.NewTask(description="x", idempotency_key="mine")))
    ask(script, lambda it: it.submit("x", idempotency_key="other"))
    assert [sent["idempotency_key"] for sent in script.bodies()] == ["mine", "other"]


def test_keys_are_ordered_by_time() -> None:
    keys = [new_key() for _ in range(50)]
    assert [key[:12] for key in keys] == sorted(key[:12] for key in keys)
    assert len(set(keys)) == 50


@pytest.mark.parametrize(
    "trouble",
    [refusal(503, "unavailable"), refusal(429, "rate_limited", retry_after_ms=1), httpx.ReadError("reset"),
     httpx.Response(502, text="bad gateway")],
)  # fmt: skip
def test_a_submit_with_unknown_outcome_is_sent_again_with_the_same_key(trouble: Answer) -> None:
    script = Script(trouble, submitted())
    assert ask(script, lambda it: it.submit("do it")).task_id == "t1"
    first, second = script.bodies()
    assert first["idempotency_key"] == second["idempotency_key"]


def test_an_answer_with_unknown_outcome_is_sent_again_with_the_same_key() -> None:
    """The task may ask something else by then, which nobody has answered."""
    script = Script(httpx.ReadError("reset"), httpx.Response(200, json={"status": "working"}))
    ask(script, lambda it: it.answer("t1", "yes"))
    ask(script, lambda it: it.answer("t1", "yes"))
    first, again, other = script.bodies()
    assert first == again == {"answer": "yes", "key": first["key"]}
    assert first["key"] not in ("", other["key"])


def test_retries_end_at_their_deadline() -> None:
    script = Script(refusal(503, "unavailable"))
    with pytest.raises(errors.Unavailable):
        ask(script, lambda it: it.submit("do it"), retry_s=0.0)


def test_a_refusal_is_raised_with_code_and_path_and_not_repeated() -> None:
    script = Script(refusal(422, "bad_frame", path="priority"))
    with pytest.raises(errors.Refused) as caught:
        ask(script, lambda it: it.submit("do it"))
    assert (caught.value.code, caught.value.path, len(script.sent)) == ("bad_frame", "priority", 1)


def test_an_answer_of_a_stranger_is_read_by_its_status() -> None:
    with pytest.raises(errors.Refused) as caught:
        ask(Script(httpx.Response(404, text="<html>")), lambda it: it.task("t1"))
    assert caught.value.code == "not_found"


def test_of_a_batch_only_what_could_not_be_taken_is_sent_again() -> None:
    busy = {"error": "overloaded", "message": "later"}
    bad = {"error": "bad_frame", "message": "no", "path": "repo"}
    good = {"task_id": "t", "status": "queued", "priority": 2, "created_at": 1}
    script = Script(
        httpx.Response(200, json={"tasks": [good, busy, bad]}), httpx.Response(200, json={"tasks": [good]})
    )
    answers = ask(script, lambda it: it.submit_batch([bodies.NewTask(description=text) for text in "abc"]))
    assert [type(answer).__name__ for answer in answers] == ["Submitted", "Submitted", "ErrorBody"]
    again = script.bodies()[1]["tasks"]
    assert again == [script.bodies()[0]["tasks"][1]]


def test_wait_returns_the_final_task() -> None:
    script = Script(
        httpx.Response(200, json={"status": "working"}), httpx.Response(200, json={"status": "completed"})
    )
    assert ask(script, lambda it: it.wait("t1", 10)) == {"status": "completed"}


def test_wait_gives_up_with_the_last_status() -> None:
    script = Script(httpx.Response(200, json={"status": "queued"}))
    with pytest.raises(TimeoutError, match="queued"):
        ask(script, lambda it: it.wait("t1", 0))


def test_a_registration_is_never_repeated_by_itself() -> None:
    script = Script(httpx.ReadError("reset"))
    with pytest.raises(errors.Unavailable):
        ask(script, lambda it: it.register("a"))
    assert len(script.sent) == 1


def test_ready_is_false_for_a_hub_that_is_away() -> None:
    assert ask(Script(httpx.ConnectError("refused")), lambda it: it.ready()) is False
    assert ask(Script(httpx.Response(200, json={})), lambda it: it.ready()) is True


def test_the_synchronous_wrapper_makes_the_same_calls() -> None:
    script = Script(submitted("t7"))
    with hub(script).sync() as it:
        assert it.submit("do it").task_id == "t7"


def test_names_in_a_path_are_quoted() -> None:
    script = Script(httpx.Response(200, json={}))
    ask(script, lambda it: it.task("../admin?x"))
    assert script.sent[0].url.raw_path == b"/api/tasks/..%2Fadmin%3Fx"


@pytest.mark.parametrize("kind", [Hub, SyncHub, AgentSession])
def test_every_call_says_what_it_does(kind: type) -> None:
    calls = inspect.getmembers(kind, inspect.isfunction)
    assert [name for name, call in calls if name[0] != "_" and not call.__doc__] == []


@pytest.mark.parametrize("to", [{}, {"to": "ada", "channel": "c"}, {"to": "ada", "broadcast": True}])
def test_a_message_that_goes_nowhere_or_to_two_places_is_not_sent(to: dict[str, Any]) -> None:
    script = Script(httpx.Response(200, json={}))
    with pytest.raises(ValueError, match="one of"):
        ask(script, lambda it: it.send({"n": 1}, **to))
    assert script.sent == []
