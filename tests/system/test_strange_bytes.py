"""A real hub under bytes that nobody meant for it: it answers in its own words, nothing crashes, nothing is lost."""

import asyncio
import random
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from agentcom.protocol.frames import InboundFrame
from tests.fuzz.shapes import damaged, encoded, fitting
from tests.system.crew import register
from tests.system.hub_process import HubProcess, clean_env

pytestmark = pytest.mark.slow

FRAMES = st.one_of([fitting(kind) for kind in get_args(InboundFrame)])
RUNS = settings(
    deadline=None,
    database=None,
    max_examples=300,
    phases=[Phase.generate],  # a socket's history cannot be shrunk
    suppress_health_check=list(HealthCheck),
)
ANSWER_S = 30.0


@pytest.fixture
def hub(make_hub: Any) -> HubProcess:
    """Without limits: a refusal would hide what is behind it."""
    hub: HubProcess = make_hub(
        limits__enabled="false", limits__max_bad_frames="1000000", chaos__enabled="false"
    )
    asyncio.run(hub.serving())
    return hub


def admin_token(hub: HubProcess) -> str:
    return (hub.data / "admin.token").read_text().strip()


def serves_as_before(hub: HubProcess) -> None:
    """No actor crashed, and work still gets in and can be read back."""

    async def works() -> None:
        async with hub.admin() as client:
            task = await client.submit("after all that")
            assert (await client.task(task.task_id))["description"] == "after all that"

    asyncio.run(works())
    assert hub.complaints() == []
    assert [line for line in hub.told() if line["event"] in ("child.crashed", "web.failed")] == []


# --- HTTP -------------------------------------------------------------------------------------------

UNFIT = "positive_data_acceptance"  #: what a cursor is, or whether a task exists, no schema can say


REFUSALS = """[checks]
negative_data_rejection.expected-statuses = [400, 401, 403, 404, 405, 409, 413, 415, 422, 429]
"""


def test_the_openapi_document_is_true(hub: HubProcess, tmp_path: Path) -> None:
    config = tmp_path / "schemathesis.toml"
    config.write_text(REFUSALS)
    argv = [
        str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(config), "run", f"{hub.url}/schema",
        "--header", f"Authorization: Bearer {admin_token(hub)}",
        "--exclude-checks", UNFIT, "--max-examples", "20", "--phases", "coverage,fuzzing",
        # They do what they say, to parts whose names the document leads to, and the next requests are told to wait.
        "--exclude-path", "/api/admin/reset", "--exclude-path", "/api/actors/{name}/restart",
        "--seed", "1", "--request-timeout", "60",
    ]  # fmt: skip
    done = subprocess.run(argv, cwd=tmp_path, env=clean_env(), capture_output=True, text=True, timeout=900)
    said = tmp_path / "schemathesis.log"
    said.write_text(done.stdout + done.stderr)
    assert done.returncode == 0, "\n".join(line[:200] for line in said.read_text().splitlines()[-150:])
    asyncio.run(hub.serving())
    with_a_new_admin_token(hub)
    serves_as_before(hub)


def with_a_new_admin_token(hub: HubProcess) -> None:
    """As an operator gets back in: among all that an administrator may ask is to revoke the token that asks."""
    hub.terminate()
    assert hub.child.wait(60) == 0
    (hub.data / "admin.token").unlink()
    hub.start()


async def _raw(hub: HubProcess, data: bytes) -> bytes:
    """What one connection answers until it is closed, by whomever."""
    reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
    try:
        writer.write(data)
        writer.write_eof()
        return await asyncio.wait_for(reader.read(), ANSWER_S)
    except ConnectionError:
        return b""
    finally:
        writer.close()


HEADS = (
    b"GET /api/tasks HTTP/1.1\r\nHost: x\r\n",
    b"POST /api/tasks HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n",
    b"POST /api/tasks/batch HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n",
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
)


def test_any_bytes_at_the_port_are_answered_or_cut_off(hub: HubProcess) -> None:
    @RUNS
    @given(st.sampled_from(HEADS), st.binary(max_size=300), st.booleans())
    def holds(head: bytes, rest: bytes, whole_head: bool) -> None:
        given = head + b"Authorization: Bearer " + rest + b"\r\n\r\n" + rest if whole_head else rest
        answer = asyncio.run(_raw(hub, given))
        assert not answer or answer.startswith(b"HTTP/1.1 ")
        assert b" 500 " not in answer.split(b"\r\n")[0]

    holds()
    serves_as_before(hub)


# --- WebSocket --------------------------------------------------------------------------------------


async def _session(hub: HubProcess, codec: str, token: str) -> ClientConnection:
    socket = await connect(
        f"ws://127.0.0.1:{hub.port}/ws",
        subprotocols=[f"agentcom.v2.{codec}"],  # type: ignore[list-item]
        additional_headers={"Authorization": f"Bearer {token}"},
    )
    hello = {"type": "hello", "agent_id": "ada", "instance": "fuzz", "takeover": True}
    await socket.send(encoded(codec, hello), text=codec == "json")
    await _until(socket, codec, "welcome")
    return socket


async def _until(socket: ClientConnection, codec: str, kind: str) -> dict[str, Any]:
    decode = msgspec.json.decode if codec == "json" else msgspec.msgpack.decode
    async with asyncio.timeout(ANSWER_S):
        while (frame := decode(await socket.recv()))["type"] != kind:  # type: ignore[operator, arg-type]
            pass
    return frame


@pytest.mark.parametrize("codec", ["json", "msgpack"])
def test_any_frame_is_answered_or_ends_its_session_only(hub: HubProcess, codec: str) -> None:
    """Bytes, damaged frames and whole ones that nobody should send, from one agent, session after session."""
    token = asyncio.run(register(hub.url, "ada"))
    messages = st.one_of(
        st.binary(max_size=200),
        damaged(FRAMES).map(lambda frame: encoded(codec, frame)),
        FRAMES.map(lambda frame: encoded(codec, frame)),
        FRAMES.map(lambda frame: encoded(codec, frame)[: random.Random(len(frame)).randrange(8)]),
    )

    @RUNS
    @given(st.lists(messages, min_size=1, max_size=8), st.booleans())
    def holds(sent: list[bytes], as_text: bool) -> None:
        asyncio.run(_say(hub, codec, token, sent, as_text=as_text))

    holds()
    serves_as_before(hub)


async def _say(hub: HubProcess, codec: str, token: str, sent: list[bytes], *, as_text: bool) -> None:
    socket = await _session(hub, codec, token)
    try:
        for message in sent:
            await socket.send(message, text=as_text and _is_text(message))
        await socket.send(encoded(codec, {"type": "heartbeat", "id": "last"}), text=codec == "json")
        await _until(socket, codec, "heartbeat_ack")
    except ConnectionClosed as closed:
        if not _told_why(closed):
            raise
    finally:
        await socket.close()


def _told_why(closed: ConnectionClosed) -> bool:
    return closed.rcvd is not None and closed.rcvd.code in (1007, 1009, *range(4400, 4600))


def _is_text(message: bytes) -> bool:
    try:
        message.decode()
    except UnicodeDecodeError:
        return False
    return True
