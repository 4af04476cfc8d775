"""Bad input to a running hub: an error that names the field or thing, and not one commit in the store."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from agentcom.cli import exits
from agentcom.client import Hub
from tests.system.crew import CAPABILITY, register
from tests.system.hub_process import HubProcess, clean_env, free_port, hub_argv

pytestmark = pytest.mark.slow

BAD_TASKS: list[tuple[str, dict[str, Any]]] = [
    ("priority", {"description": "x", "priority": "someday"}),
    ("priority", {"description": "x", "priority": 7}),
    ("description", {"description": ""}),
    ("description", {"description": "x" * 10_001}),
    ("description", {"description": ["x"]}),
    ("description", {}),
    ("needed_capabilities", {"description": "x", "needed_capabilities": "python"}),
    ("needed_capabilities[1]", {"description": "x", "needed_capabilities": ["a", 7]}),
    ("success_criteria", {"description": "x", "success_criteria": {"a": 1}}),
    ("metadata", {"description": "x", "metadata": [1]}),
    ("complete_by", {"description": "x", "complete_by": 1_000}),
    ("complete_by", {"description": "x", "complete_by": "tomorrow"}),
    ("not_before", {"description": "x", "not_before": -1}),
    ("repo", {"description": "x", "repo": "lost"}),
    ("max_attempts", {"description": "x", "max_attempts": 0}),
    ("token_budget", {"description": "x", "token_budget": -5}),
    ("target", {"description": "x", "target": "No Such Name"}),
]
BAD_SETTINGS: list[tuple[str, list[str], str]] = [
    ("a key that is not there", ["--set", "lease.acept_s=3"], "acept_s"),
    ("a section that is not there", ["--set", "leases.accept_s=3"], "leases"),
    ("a value of the wrong type", ["--set", "lease.accept_s=soon"], "lease.accept_s"),
    ("a value out of range", ["--set", "lease.accept_s=-1"], "lease.accept_s"),
    ("half a setting", ["--set", "lease"], "lease"),
    ("a file that is no TOML", ["--config", "bad.toml"], "bad.toml"),
    ("a file with a key that is not there", ["--config", "odd.toml"], "colour"),
    ("a file that is not there", ["--config", "absent.toml"], "absent.toml"),
]


Frame = dict[str, Any]
Ask = Callable[[Frame], Awaitable[Frame]]


async def store_seq(admin: Hub) -> int:
    """Rises with every commit."""
    return int((await admin.health())["store"]["seq"])


@asynccontextmanager
async def speaking(hub: HubProcess, agent_id: str, token: str) -> AsyncIterator[Ask]:
    """Raw protocol 2: what is asked, and the next frame that answers it."""
    url = hub.url.replace("http", "ws") + "/ws"
    async with connect(url, subprotocols=["agentcom.v2.json"], proxy=None) as ws:  # type: ignore[list-item]

        async def ask(frame: Frame) -> Frame:
            await ws.send(json.dumps(frame))
            async with asyncio.timeout(20):
                while (said := json.loads(await ws.recv())).get("re") != frame["id"]:
                    pass
            return dict(said)

        hello = {"type": "hello", "id": "h", "agent_id": agent_id, "instance": "one", "token": token}
        assert (await ask({**hello, "capabilities": [CAPABILITY]}))["type"] == "welcome"
        yield ask


def test_a_bad_task_is_refused_by_its_field_over_http_and_nothing_is_written(hub: HubProcess) -> None:
    async def scenario() -> None:
        async with hub.admin() as admin, raw_http(hub, admin.token) as http:
            before = await store_seq(admin)
            for path, task in BAD_TASKS:
                answer = await http.post("/api/tasks", json=task)
                said = answer.json()
                assert (answer.status_code, said["error"], said["path"]) == (422, "bad_frame", path), task
            answer = await http.post("/api/tasks/batch", json={"tasks": [task for _, task in BAD_TASKS]})
            assert [entry["path"] for entry in answer.json()["tasks"]] == [path for path, _ in BAD_TASKS]
            for verb in ("cancel", "retry", "prioritise", "answer"):
                body = {"priority": "low", "answer": "x"}
                answer = await http.post(f"/api/tasks/none/{verb}", json=body)
                assert (answer.status_code, answer.json()["error"]) == (404, "not_found")
            assert await store_seq(admin) == before
            assert (await admin.tasks())["tasks"] == []

    asyncio.run(scenario())
    assert hub.complaints() == []


def raw_http(hub: HubProcess, token: str) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.AsyncClient(base_url=hub.url, headers=headers, trust_env=False)


def test_a_bad_task_is_refused_by_its_field_over_ws_and_nothing_is_written(
    make_hub: Callable[..., HubProcess],
) -> None:
    hub = make_hub(limits__max_bad_frames="100")  # else the agent has to stay away after ten of them

    async def scenario() -> None:
        async with hub.admin() as admin:
            token = await register(hub.url, "ada")
            async with speaking(hub, "ada", token):
                before = await store_seq(admin)
            for path, task in BAD_TASKS:
                async with speaking(hub, "ada", token) as ask:  # a session each: many bad frames end one
                    said = await ask({"type": "task_submit", "id": "s", "task": task})
                    assert (said["type"], said["code"]) == ("error", "bad_frame"), task
                    assert said["path"] == f"task.{path}", task
            assert await store_seq(admin) == before

    asyncio.run(scenario())
    assert hub.complaints() == []


def test_a_stale_a_foreign_and_an_unknown_report_are_refused_by_code_and_task(hub: HubProcess) -> None:
    async def scenario() -> None:
        async with hub.admin() as admin:
            ada, eve = await register(hub.url, "ada"), await register(hub.url, "eve")
            task_id = (await admin.submit("x", target="ada")).task_id
            async with speaking(hub, "ada", ada) as ask, speaking(hub, "eve", eve) as ask_as_eve:
                await until_assigned(admin, task_id)
                accept = {"type": "task_accept", "id": "a", "task_id": task_id, "generation": 1}
                assert (await ask(accept))["status"] == "accepted"
                before = await admin.task(task_id)
                for kind in ("task_complete", "task_fail", "task_reject", "task_progress", "task_block"):
                    report = {"type": kind, "id": "r", "task_id": task_id, "generation": 1, "question": "?"}
                    cases: list[tuple[Ask, Frame, str]] = [
                        (ask_as_eve, {}, "not_owner"),
                        (ask, {"generation": 0}, "stale_generation"),
                        (ask, {"generation": 7}, "stale_generation"),
                        (ask, {"task_id": "none"}, "not_found"),
                    ]
                    for asker, more, code in cases:
                        said = await asker({**report, **more})
                        assert (said["type"], said.get("code")) == ("error", code), (kind, more)
                        assert said["task_id"] == more.get("task_id", task_id)
                after = await admin.task(task_id)
                assert [kept["kind"] for kept in after.pop("evidence")] == ["complete", "complete"]
                assert after == {k: v for k, v in before.items() if k != "evidence"}
                done = await ask({**accept, "type": "task_complete", "id": "c"})
                assert done["status"] == "completed"

    asyncio.run(scenario())
    assert hub.complaints() == []


async def until_assigned(admin: Hub, task_id: str) -> None:
    async with asyncio.timeout(20):
        while (await admin.task(task_id))["status"] != "assigned":
            await asyncio.sleep(0.02)


def test_a_bad_token_is_refused_and_a_token_speaks_for_its_own_agent_only(hub: HubProcess) -> None:
    async def scenario() -> None:
        async with hub.admin() as admin:
            ada = await register(hub.url, "ada")
            before = await store_seq(admin)
            for agent_id, token, code in [
                ("ada", "wrong", "invalid_token"),
                ("eve", ada, "token_agent_mismatch"),
                ("ada", admin.token, "token_agent_mismatch"),
            ]:
                assert await refused_hello(hub, agent_id, token) == (code, 4401)
            async with raw_http(hub, "wrong") as http:
                assert (await http.get("/api/tasks")).status_code == 401
            assert await store_seq(admin) == before

    asyncio.run(scenario())


async def refused_hello(hub: HubProcess, agent_id: str, token: str) -> tuple[str, int | None]:
    url = hub.url.replace("http", "ws") + "/ws"
    async with connect(url, subprotocols=["agentcom.v2.json"], proxy=None) as ws:  # type: ignore[list-item]
        hello = {"type": "hello", "agent_id": agent_id, "instance": "one", "token": token}
        await ws.send(json.dumps(hello))
        said = json.loads(await ws.recv())
        await ws.wait_closed()
        return said["code"], ws.close_code


def refused_start(folder: Path, *more: str, data: Path | None = None, port: int = 0) -> str:
    """The one sentence of a hub that does not start."""
    argv = [*hub_argv(data or folder / "other", port or free_port(), {}), *more]
    done = subprocess.run(
        argv, cwd=folder, env=clean_env(), capture_output=True, text=True, timeout=60, check=False
    )
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert done.returncode in (exits.REFUSED, exits.USAGE)
    return f"{done.returncode} {lines[0]}"


def test_a_second_hub_and_a_taken_port_are_refused_and_the_first_goes_on(
    hub: HubProcess, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with hub.admin() as admin:
            before = await store_seq(admin)
            said = refused_start(tmp_path, data=hub.data)
            assert said.startswith(str(exits.REFUSED))
            assert str(hub.child.pid) in said
            assert str(hub.data) in said
            said = refused_start(tmp_path, port=hub.port)
            assert said.startswith(str(exits.REFUSED))
            assert f"127.0.0.1:{hub.port}" in said
            assert not (tmp_path / "other").exists()
            assert await store_seq(admin) == before
            await admin.submit("still here")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("arguments", "named"), [case[1:] for case in BAD_SETTINGS], ids=[c[0] for c in BAD_SETTINGS]
)
def test_a_bad_setting_stops_the_start_by_its_name(tmp_path: Path, arguments: list[str], named: str) -> None:
    (tmp_path / "bad.toml").write_text("[lease\naccept_s = ")
    (tmp_path / "odd.toml").write_text("[hub]\ncolour = 'red'\n")
    said = refused_start(tmp_path, *arguments)
    assert said.startswith(str(exits.USAGE))
    assert named in said
    assert not (tmp_path / "other").exists()
