"""An agent's session against real sockets and a fake hub."""

import asyncio
from typing import Any

import msgspec
import pytest

from agentcom.endpoint import CODECS
from agentcom.protocol import frames
from agentcom.protocol.errors import Refused
from agentcom.session import AgentSession
from agentcom.session_state import Accepted, Assigned, Online, Renumbered, Saved, Settled, Stop
from tests.sidecar.fake_hub import FakeHub, until

ACK = {"type": "task_ack", "task_id": "t1", "generation": 1}


class Memory:
    """An outbox in memory, which remembers each save."""

    def __init__(self, saved: Saved | None = None) -> None:
        self.saves: list[Saved] = [saved or Saved()]

    async def load(self) -> Saved:
        return self.saves[-1]

    async def save(self, saved: Saved) -> None:
        self.saves.append(saved)


def session(hub: FakeHub, **more: Any) -> AgentSession:
    settings = {"agent_id": "a", "token": "good", "instance": "i", "backoff_s": (0.001, 0.01), **more}
    return AgentSession(hub.url, **settings)


async def expect(it: AgentSession, kind: type) -> Any:
    async with asyncio.timeout(10):
        async for event in it:
            if isinstance(event, kind):
                return event
    raise AssertionError(f"the session ended before {kind.__name__}")


def test_a_task_is_accepted_and_completed() -> None:
    async def scenario() -> None:
        async with FakeHub() as hub, session(hub, capabilities=["python"]) as it:
            await expect(it, Online)
            hub.assign("t1")
            assert (await expect(it, Assigned)).assign.task_id == "t1"
            await it.accept("t1", 1)
            assert await expect(it, Accepted) == Accepted("t1", 1)
            await it.complete("t1", 1, frames.TaskResult(summary="done"))
            assert (await expect(it, Settled)).status == "completed"
            assert it.state.tasks == {}
            assert hub.of(frames.Hello)[0].capabilities == ["python"]

    asyncio.run(scenario())


def test_heartbeats_list_what_is_held_and_whether_its_process_lives() -> None:
    async def scenario() -> None:
        async with FakeHub(heartbeat_ms=10) as hub, session(hub, alive=lambda _: False) as it:
            await expect(it, Online)
            hub.assign("t1")
            await expect(it, Assigned)
            beat = await until(lambda: next((b for b in hub.of(frames.Heartbeat) if b.tasks), None))
            assert beat.tasks == [frames.HeldTask("t1", 1, "assigned", False)]

    asyncio.run(scenario())


def test_a_report_made_while_offline_is_sent_after_the_next_welcome() -> None:
    async def scenario() -> None:
        async with FakeHub() as hub, session(hub) as it:
            await expect(it, Online)
            hub.assign("t1")
            await expect(it, Assigned)
            await it.accept("t1", 1)
            await expect(it, Accepted)
            hub.mute = True
            await it.complete("t1", 1)
            await until(lambda: hub.of(frames.TaskComplete))
            hub.mute = False
            hub.verdicts = [frames.Verdict("t1", 1, "continue")]
            hub.drop()
            assert (await expect(it, Settled)).status == "completed"
            resumed = hub.of(frames.Hello)[-1].resume.tasks
            assert [held.task_id for held in resumed] == ["t1"]

    asyncio.run(scenario())


def test_what_was_kept_is_taken_up_by_the_next_life_of_the_client() -> None:
    async def scenario() -> None:
        memory = Memory()
        async with FakeHub() as hub:
            async with session(hub, outbox=memory) as first:
                await expect(first, Online)
                hub.assign("t1")
                await expect(first, Assigned)
                await first.accept("t1", 1)
                await expect(first, Accepted)
                hub.mute = True
                await first.complete("t1", 1)
            hub.mute = False
            hub.verdicts = [frames.Verdict("t1", 5, "continue")]
            hub.tasks["t1"] = frames.TaskAssign(**{**_fields(hub.tasks["t1"]), "generation": 5})
            async with session(hub, outbox=Memory(memory.saves[-1])) as second:
                assert await expect(second, Renumbered) == Renumbered("t1", 1, 5)
                assert (await expect(second, Settled)).generation == 5

    asyncio.run(scenario())


def _fields(struct: Any) -> dict[str, Any]:
    return {name: getattr(struct, name) for name in struct.__struct_fields__}


def test_an_abort_at_welcome_stops_the_work_and_frees_the_agent() -> None:
    async def scenario() -> None:
        async with FakeHub() as hub, session(hub) as it:
            await expect(it, Online)
            hub.assign("t1")
            await expect(it, Assigned)
            await it.accept("t1", 1)
            await expect(it, Accepted)
            hub.verdicts = [frames.Verdict("t1", 1, "abort", "a newer holder")]
            hub.drop()
            stop = await expect(it, Stop)
            assert (stop.kind, stop.reason) == ("abort", "a newer holder")
            await it.stopped("t1", 1)
            await until(lambda: hub.of(frames.TaskStopped))

    asyncio.run(scenario())


def test_a_report_the_hub_cannot_take_now_is_sent_again() -> None:
    async def scenario() -> None:
        async with FakeHub() as hub, session(hub) as it:
            await expect(it, Online)
            hub.errors = {frames.TaskAccept: [("unavailable", 1), ("overloaded", 1)]}
            hub.assign("t1")
            await expect(it, Assigned)
            await it.accept("t1", 1)
            await expect(it, Accepted)
            assert len(hub.of(frames.TaskAccept)) == 3

    asyncio.run(scenario())


def test_a_status_that_only_a_newer_hub_knows_settles_the_task_all_the_same() -> None:
    """What counts is that the report was taken: not heard of, it would be sent again for ever."""

    async def scenario() -> None:
        async with FakeHub() as hub, session(hub) as it:
            await expect(it, Online)
            hub.assign("t1")
            await expect(it, Assigned)
            hub.mute = True
            await it.complete("t1", 1)
            [report] = await until(lambda: hub.of(frames.TaskComplete))
            hub.push({**ACK, "re": report.id, "status": "verifying", "by": "a field of tomorrow"})
            assert await expect(it, Settled) == Settled("t1", 1, "verifying")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("name", "encode"), [("json", msgspec.json.encode), ("msgpack", msgspec.msgpack.encode)]
)
def test_of_a_newer_hubs_words_only_the_status_is_read_as_it_comes(name: str, encode: Any) -> None:
    decode = CODECS[name].decode
    known = frames.TaskAck(task_id="t1", generation=1, status="completed")
    assert decode(encode({**ACK, "status": "completed"})) == known
    assert decode(encode({**ACK, "status": "verifying"})).status == "verifying"
    for bad in (
        {**ACK, "status": 7},
        {**ACK, "status": "verifying", "generation": "x"},
        {"type": "news"},
        [],
    ):
        with pytest.raises(msgspec.ValidationError):
            decode(encode(bad))


def test_an_answer_that_never_came_is_asked_for_again() -> None:
    async def scenario() -> None:
        async with FakeHub(heartbeat_ms=10) as hub, session(hub) as it:
            await expect(it, Online)
            hub.assign("t1")
            await expect(it, Assigned)
            hub.mute = True
            await it.accept("t1", 1)
            await until(lambda: hub.of(frames.TaskAccept))
            hub.mute = False
            await expect(it, Accepted)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("code", "says"), [(4401, "token"), (4403, "revoked"), (4409, "newer"), (4410, "another")]
)
def test_a_close_that_forbids_to_come_back_ends_the_session(code: int, says: str) -> None:
    async def scenario() -> None:
        async with FakeHub() as hub:
            hub.close_hello_with = code
            async with session(hub) as it:
                with pytest.raises(Refused, match=says):
                    await expect(it, Online)
                assert len(hub.of(frames.Hello)) == 1

    asyncio.run(scenario())


def test_a_bad_token_ends_the_session_with_the_hubs_words() -> None:
    async def scenario() -> None:
        async with FakeHub() as hub, session(hub, token="bad") as it:
            with pytest.raises(Refused, match="no such token"):
                await expect(it, Online)

    asyncio.run(scenario())


def test_any_other_close_is_followed_by_a_reconnect() -> None:
    async def scenario() -> None:
        async with FakeHub() as hub, session(hub) as it:
            await expect(it, Online)
            hub.drop(4408)
            await expect(it, Online)
            assert len({hello.instance for hello in hub.of(frames.Hello)}) == 1

    asyncio.run(scenario())


def test_nothing_is_told_before_it_is_kept() -> None:
    async def scenario() -> None:
        memory = Memory()
        async with FakeHub() as hub, session(hub, outbox=memory) as it:
            await expect(it, Online)
            hub.assign("t1")
            await expect(it, Assigned)
            assert [entry.assign.task_id for entry in memory.saves[-1].tasks] == ["t1"]

    asyncio.run(scenario())
