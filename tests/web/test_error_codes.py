"""Each code of the wire is told by the hub, with its status, and whoever was refused changed nothing."""

import json
from pathlib import Path
from typing import Any, get_args

from agentcom.config import Config, Limits
from agentcom.core.answers import failed
from agentcom.core.messages import Fault
from agentcom.protocol.errors import STATUS, Code
from tests.web.test_limits import seq
from tests.web.test_sockets import HELLO, connect, session

ELSEWHERE: dict[Code, str] = {
    "stale_generation": "tests/system/test_bad_input.py",
    "storage_full": "tests/store/test_actor.py",
}
"""Codes that only a lane or the store can give; their tests."""


async def http_codes(hub: Any) -> set[str]:
    async def code(method: str, path: str, **more: Any) -> str:
        answer = await hub.request(method, path, **more)
        assert answer.status_code == STATUS[answer.json()["error"]], answer.text
        return str(answer.json()["error"])

    pull = {
        "repo": "demo",
        "task_id": "t-1",
        "branch": "b",
        "base_branch": "m",
        "commit": "a" * 40,
        "title": "T",
    }
    task = {"description": "x", "idempotency_key": "k"}
    return {
        await code("POST", "/api/tasks", content=b"{"),
        await code("POST", "/api/tasks", json={"description": 1}),
        await code("POST", "/api/tasks", json={"description": "x" * 5_000}),
        await code("POST", "/api/tasks", json={"description": "full"}),
        await code("POST", "/api/tasks", json={"description": "crash"}),
        await code("GET", "/api/repos", token="wrong"),
        await code("GET", "/api/audit"),
        await code("GET", "/api/tasks/none"),
        await code("POST", "/api/pulls", token="agent-token", json=pull),
        await code("POST", "/api/repos", token="admin-token", json={"name": "demo", "url": "u"}),
        await code("POST", "/api/tasks", json=task, headers={"idempotency-key": "other"}),
    }


async def frame_codes(hub: Any) -> set[str]:
    client = await session(hub)
    said = set()
    for frame in ("{", '{"type":"nonsense"}', json.dumps(HELLO)):
        await client.ws.send(frame)
        said.add((await client.hear())["code"])
    for hello in ({"type": "heartbeat"}, {**HELLO, "agent_id": "eve"}):
        stranger = await connect(hub)
        await stranger.say(**hello)
        said.add((await stranger.hear())["code"])
    for _ in range(6):
        limited = await hub.request("GET", "/api/tasks/none/events", token="agent-token")
        said.add(limited.json()["error"])
    return said


def test_every_code_is_told_by_a_running_hub_or_tested_where_it_is_made(play):
    async def scene(hub):
        before = await seq(hub)
        told = await http_codes(hub) | await frame_codes(hub)
        assert await seq(hub) == before
        assert set(get_args(Code)) - told == set(ELSEWHERE)

    limits = Limits(max_frame_bytes=4_096, normal_per_min=1, normal_burst=3, operator_factor=1_000)
    play(scene, Config(limits=limits))


def test_the_codes_of_lanes_and_store_are_tested_where_they_are_made():
    root = Path(__file__).parents[2]
    assert [code for code, file in ELSEWHERE.items() if f'"{code}"' not in (root / file).read_text()] == []


def test_each_code_has_a_status_and_a_refusal_for_later_tells_when():
    for code in get_args(Code):
        assert failed(Fault(code, "no", retry_after_ms=5)).retry_after_ms == 5
    assert set(STATUS) == set(get_args(Code))
