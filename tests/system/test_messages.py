"""Agents that talk through a real hub: over WebSockets and HTTP, across crashes and kills."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from agentcom.client import AgentSession, Hub
from agentcom.protocol import frames
from agentcom.protocol.errors import Refused, Unavailable
from tests.system.hub_process import HubProcess

SOON_S = 30.0


class Talker:
    """One agent: its session, and everything it heard, acknowledged as it comes."""

    def __init__(self, session: AgentSession) -> None:
        self.session = session
        self.heard: list[frames.MessageFrame] = []
        self.gaps: list[frames.MailboxGap] = []
        self.task = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        async for news in self.session.messages():
            if isinstance(news, frames.MailboxGap):
                self.gaps.append(news)
            else:
                self.heard.append(news)
                await self.session.ack(news.seq)

    async def until(self, count: int) -> list[Any]:
        """The payloads, once there are so many."""
        async with asyncio.timeout(SOON_S):
            while len(self.heard) < count:
                await asyncio.sleep(0.01)
        return [message.payload for message in self.heard]


@asynccontextmanager
async def talkers(hub: HubProcess, admin: Hub, *names: str) -> AsyncIterator[list[Talker]]:
    made = []
    for n, name in enumerate(names):
        token = (await admin.register(name)).token
        codec: Any = ("json", "msgpack")[n % 2]
        session = AgentSession(hub.url, agent_id=name, token=token, codec=codec, backoff_s=(0.05, 0.5))
        await session.start()
        made.append(Talker(session))
    try:
        yield made
    finally:
        for one in made:
            await one.session.close()
            await one.task


def numbers(talker: Talker) -> list[int]:
    return [message.payload["n"] for message in talker.heard if "n" in message.payload]


def test_agents_talk_directly_to_all_and_by_channels(hub: HubProcess) -> None:
    async def scenario() -> None:
        async with hub.admin() as admin, talkers(hub, admin, "ada", "bob", "cyd") as (ada, bob, cyd):
            first = await ada.session.say({"n": 1}, to="bob")
            await bob.until(1)
            await bob.session.say({"n": 2}, to="ada", reply_to=first.message_id)
            await ada.until(1)
            assert ada.heard[0].thread_id == first.message_id
            await ada.session.say({"n": 3}, broadcast=True)
            await admin.call("POST", "/api/channels", {"name": "builds"})
            await cyd.session.subscribe("builds")
            await ada.session.say({"n": 4}, channel="builds")
            await cyd.until(2)
            assert (numbers(bob), numbers(cyd)) == ([1, 3], [3, 4])
            assert [message.seq for message in cyd.heard] == [1, 2]
            with pytest.raises(Refused, match="not_found"):
                await cyd.session.subscribe("nowhere")
            again = {(await ada.session.say({"n": 5}, to="bob", key="k")).message_id for _ in range(2)}
            assert len(again) == 1
            with pytest.raises(Refused, match="conflict"):
                await ada.session.say({"n": 6}, to="bob", key="k")
            thread = await admin.call("GET", f"/api/threads/{first.message_id}")
            assert [message["payload"]["n"] for message in thread["messages"]] == [1, 2]

    asyncio.run(scenario())
    assert hub.complaints() == []


async def chatter(talker: Talker, to: dict[str, Any], sent: list[int], stop: asyncio.Event) -> None:
    """Numbers in order; `sent` are those that were acknowledged."""
    n = 0
    while not stop.is_set():
        n += 1
        try:
            await talker.session.say({"n": n, "from": talker.session.agent_id}, **to, timeout_s=SOON_S)
        except Unavailable:
            continue
        sent.append(n)


async def more(lists: list[list[int]], count: int) -> None:
    wanted = [len(each) + count for each in lists]
    async with asyncio.timeout(60):
        while any(len(each) < want for each, want in zip(lists, wanted, strict=True)):
            await asyncio.sleep(0.01)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["kill", "crash"])
def test_no_acknowledged_message_is_lost_or_doubled(hub: HubProcess, how: str) -> None:
    """The hub killed, or the actors of sender, recipient and channels crashed, under chatter."""

    async def scenario() -> None:
        async with hub.admin() as admin, talkers(hub, admin, "ada", "bob", "cyd") as (ada, bob, cyd):
            await admin.call("POST", "/api/channels", {"name": "builds"})
            await cyd.session.subscribe("builds")
            aims: list[dict[str, Any]] = [{"to": "cyd"}, {"channel": "builds"}]
            stop, sent = asyncio.Event(), [[], []]
            running = [
                asyncio.create_task(chatter(talker, aim, told, stop))
                for talker, aim, told in zip((ada, bob), aims, sent, strict=True)
            ]
            for _ in range(4):
                await more(sent, 15)
                if how == "kill":
                    hub.kill()
                    hub.start()
                else:
                    for name in ("agent.ada", "channel.builds", "agent.cyd"):
                        await admin.call("POST", f"/api/actors/{name}/crash")
            await more(sent, 15)
            stop.set()
            await asyncio.gather(*running)
            await cyd.until(sum(map(len, sent)))
            for name, told in zip(("ada", "bob"), sent, strict=True):
                got = [m.payload["n"] for m in cyd.heard if m.payload["from"] == name]
                assert got == told
            assert cyd.gaps == []
            seqs = [message.seq for message in cyd.heard]
            assert seqs == list(range(1, len(seqs) + 1))

    asyncio.run(scenario())
