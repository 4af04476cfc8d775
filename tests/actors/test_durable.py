"""The shell of a writer, with a store that answers nothing but `Open`: who waits is told, whatever ends first."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
from thespian.actors import ActorAddress

from actors.durable import Durable
from agentcom.core.decision import Decision, Output
from agentcom.core.messages import Ask, Reply
from agentcom.protocol.ops import Put
from agentcom.store.env import open_environment
from agentcom.store.messages import Open, Opened, StoreStatus
from supervisors.messages import CrashNow
from supervisors.specs import ChildSpec, SupervisorSpec
from tests.supervisors.troupe import Player, Script, Stage, Told, play

POISON = "poison"
KILL_S = 600.0
"""Longer than any test waits."""


class Args(msgspec.Struct, frozen=True):
    folder: str
    tale: ActorAddress


class Write(Ask, frozen=True, kw_only=True):
    text: str = ""


class SilentStore(Player):
    """Opens names and commits nothing."""

    def on_message(self, msg: Any, sender: ActorAddress) -> None:
        if isinstance(msg, Open):
            self.send(sender, Opened(msg.name, self.start))
        else:
            self.tell_tale("said", type(msg).__name__)


class Clerk(Durable):
    soft_needs: ClassVar[tuple[str, ...]] = ("peer",)

    def on_opened(self) -> None:
        self.seen: list[str] = []
        self.ready()

    def on_peer_up(self, name: str) -> None:
        self.seen.append(name)  # fails when it comes before the state
        self.send(self.args.tale, Told(self.name, "peer up", name))

    def on_news(self, msg: Any, sender: ActorAddress) -> None:
        if msg.text == POISON:
            raise ValueError("poison")
        answer = Output(msg.reply_to, Reply(msg.request, "written"))
        self.carry_out([Decision((Put("config", (msg.text,), msg.text),), (answer,), "write")], msg)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[str]:
    env = open_environment(tmp_path / "data", sync=False)
    yield str(tmp_path / "data")
    env.close()


async def open_the_office(s: Stage, folder: str) -> None:
    def child(name: str, actor: str, args: Any) -> ChildSpec:
        return ChildSpec(name=name, actor=f"{__name__}:{actor}", args=args, shutdown=KILL_S)

    await s.raise_curtain(
        SupervisorSpec(
            strategy="rest_for_one",
            intensity=5,
            children=(
                s.child("peer"),
                child("store", "SilentStore", Script(s.port.address)),
                child("clerk", "Clerk", Args(folder, s.port.address)),
            ),
        )
    )


def answers(s: Stage) -> dict[int, str]:
    return {msg.request: getattr(msg.body, "code", msg.body) for msg in s.tale if isinstance(msg, Reply)}


async def ask(s: Stage, *texts: str) -> None:
    for number, text in enumerate(texts, 1):
        await s.send("clerk", Write(reply_to=s.port.address, request=number, text=text))


def test_a_peer_that_was_up_before_is_told_of_once_the_state_is_loaded(folder: str) -> None:
    async def scene(s: Stage) -> None:
        await open_the_office(s, folder)
        await s.until(lambda: s.told("peer up", "clerk") == ["peer"])

    play(scene)


def test_a_caller_is_refused_for_want_of_room_whether_the_disk_or_the_limit_ends_it(folder: str) -> None:
    async def scene(s: Stage) -> None:
        await open_the_office(s, folder)
        await s.send("clerk", StoreStatus(full=True))
        await ask(s, "a")
        await s.until(lambda: answers(s) == {1: "storage_full"})
        [said] = [msg.body.message for msg in s.tale if isinstance(msg, Reply)]
        assert said == "there is no room; nothing new is accepted"

    play(scene)


@pytest.mark.parametrize("victim", ["clerk", "store"])
def test_when_the_writer_or_the_store_crashes_everyone_with_a_write_on_its_way_is_answered(
    folder: str, victim: str
) -> None:
    async def scene(s: Stage) -> None:
        await open_the_office(s, folder)
        await ask(s, "a", "b")
        await s.until(lambda: s.told("said", "store"))
        await s.send(victim, CrashNow())
        await s.until(lambda: answers(s) == {1: "unavailable", 2: "unavailable"})

    play(scene)


def test_whoever_sent_the_message_that_a_writer_crashes_on_is_answered(folder: str) -> None:
    async def scene(s: Stage) -> None:
        await open_the_office(s, folder)
        await ask(s, POISON)
        await s.until(lambda: answers(s) == {1: "unavailable"})

    play(scene)


def test_a_store_that_crashes_does_not_make_its_writers_wait_for_their_kill(folder: str) -> None:
    async def scene(s: Stage) -> None:
        await open_the_office(s, folder)
        await ask(s, "a")
        await s.until(lambda: s.told("said", "store"))
        await s.send("store", CrashNow())
        await s.tree_until(lambda tree: tree["clerk"].start == 2 and tree["clerk"].state == "up")

    play(scene)
