"""The stream of events as a program sees it: whole events, whatever the network makes of them, without an end."""

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentcom import following
from agentcom.client import Hub
from agentcom.following import Event, Parser
from agentcom.protocol import errors

TEXT = (
    "retry: 1000\nid: 4\n\n"
    'id: 5.1\nevent: task_event\ndata: {"type":"task_event","reason":"a\u2028b\x85c"}\n\n'
    ": here\nid: 5.1\n\n"
    'id: 5\nevent: gap\ndata: {"type":"gap"}\n\n'
).encode()
WHOLE = [
    Event("4", "", ""),
    Event("5.1", "task_event", '{"type":"task_event","reason":"a\u2028b\x85c"}'),
    Event("5.1", "", ""),
    Event("5", "gap", '{"type":"gap"}'),
]


@given(st.sets(st.integers(0, len(TEXT))))
def test_events_are_the_same_wherever_the_network_cuts_them(cuts):
    parser, at = Parser(), [0, *sorted(cuts), len(TEXT)]
    assert [event for a, b in pairwise(at) for event in parser.feed(TEXT[a:b])] == WHOLE


def test_half_an_event_is_none():
    assert list(Parser().feed(b"id: 5\nevent: gap\ndata: {}\n")) == []


# --- following -------------------------------------------------------------------------------------


def task(place: str) -> str:
    return f'id: {place}\nevent: task_event\ndata: {{"type":"task_event","task_id":"t-{place}"}}\n\n'


class Stream(httpx.AsyncByteStream):
    """One connection: what it says, and how it ends."""

    def __init__(self, *says: str, breaks: bool = False) -> None:
        self.says, self.breaks = says, breaks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for one in self.says:
            yield one.encode()
        if self.breaks:
            raise httpx.ReadError("reset")


class Script:
    """Connections in order, the last one for ever; remembers where each of them began."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.began: list[str | None] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.began.append(request.headers.get("last-event-id"))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(200, stream=answer) if isinstance(answer, Stream) else answer


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(following, "BACK_S", 0.0)


def hub_of(script: Script, **more: Any) -> Hub:
    return Hub("http://hub.invalid", "secret", transport=httpx.MockTransport(script), **more)


def ids(script: Script, count: int, after: Any = None, **more: Any) -> list[str]:
    async def run() -> list[str]:
        found: list[str] = []
        async with hub_of(script, **more) as hub:
            async for event in hub.follow(after):
                found.append(event["id"])
                if len(found) == count:
                    break
        return found

    return asyncio.run(run())


@pytest.mark.parametrize("breaks", [True, False])
def test_it_goes_on_behind_the_last_event_it_told(breaks):
    script = Script(Stream(task("5"), task("6.1"), breaks=breaks), Stream(task("6")), Stream(task("7")))
    assert ids(script, 4) == ["5", "6.1", "6", "7"]
    assert script.began == [None, "6.1", "6"]


def test_it_begins_where_it_is_told_to():
    script = Script(Stream(task("5")))
    assert ids(script, 1, after=4) == ["5"]
    assert script.began == ["4"]


def test_where_a_silent_hub_is_counts_too():
    script = Script(Stream("retry: 1000\nid: 8\n\n"), Stream(task("9")))
    assert ids(script, 1) == ["9"]
    assert script.began == [None, "8"]


def test_a_hub_that_is_away_for_a_while_is_waited_for():
    away = httpx.Response(503, json={"error": "unavailable", "message": "restarts"})
    script = Script(Stream(task("5")), httpx.ConnectError("refused"), away, Stream(task("6")))
    assert ids(script, 2) == ["5", "6"]


def test_a_hub_that_stays_away_is_given_up():
    with pytest.raises(errors.Unavailable, match="no answer from"):
        ids(Script(httpx.ConnectError("refused")), 1, retry_s=-1.0)


@pytest.mark.parametrize(("status", "code"), [(401, "invalid_token"), (403, "forbidden"), (422, "bad_frame")])
def test_a_refusal_is_raised(status, code):
    script = Script(httpx.Response(status, json={"error": code, "message": "no"}))
    with pytest.raises(errors.Refused, match="no"):
        ids(script, 1)
    assert len(script.began) == 1


def test_the_end_of_a_token_is_raised_where_it_is_told():
    end = 'event: error\ndata: {"error":"invalid_token","message":"revoked"}\n\n'
    script = Script(Stream(task("5"), end))
    with pytest.raises(errors.Refused, match="revoked"):
        ids(script, 2)


def test_a_program_without_a_loop_follows_too():
    script = Script(Stream(task("5")), Stream(task("6")))
    with hub_of(script).sync() as hub:
        events = hub.follow()
        assert [next(events)["id"], next(events)["id"]] == ["5", "6"]
