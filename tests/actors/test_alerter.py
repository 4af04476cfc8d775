"""The alerter under supervision, with the real store and presence: what it finds, keeps, and tells the gateway."""

from pathlib import Path
from typing import Any

import pytest
from thespian.actors import ActorAddress

from actors.alerter import AlerterArgs
from actors.store import StoreArgs
from agentcom.core.messages import AgentStatus, Condition, Maintain, Reply
from agentcom.protocol.alerts import HighErrorRate, Thresholds
from agentcom.protocol.ops import Put
from agentcom.protocol.rows import Agent, Token
from agentcom.store import Reader, handle
from agentcom.store.disk import Settings
from agentcom.store.env import opened
from supervisors.messages import CrashNow
from supervisors.specs import ChildSpec, SupervisorSpec
from tests.store.helpers import LmdbStore, Writer
from tests.supervisors.troupe import Player, Script, Stage, Told, play

NOBODY = "no agent is connected, and 1 could be"
HERE = AgentStatus(agent_id="ada", state="idle", connected_ms=1)


class Gateway(Player):
    """Tells the stage what it hears."""

    def on_message(self, msg: Any, sender: ActorAddress) -> None:
        self.tell_tale("heard", msg)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store that knows one agent."""
    store = LmdbStore(tmp_path / "data", sync=False)
    agent, token = Agent("ada"), Token("t", "ada", "agent", 1)
    Writer(store, "directory").commit(Put("agent", ("ada",), agent), Put("token", ("0" * 64,), token))
    store.close()
    return tmp_path / "data"


async def raise_hub(s: Stage, folder: Path, check_s: float = 0.05, without: tuple[str, ...] = ()) -> None:
    parts = {
        "store": ("actors.store:StoreActor", StoreArgs(Settings(str(folder)))),
        "gateway": (f"{__name__}:Gateway", Script(s.port.address)),
        "presence": ("actors.presence:PresenceActor", None),
        "alerter": ("actors.alerter:AlerterActor", AlerterArgs(str(folder), check_s)),
    }
    children = tuple(
        ChildSpec(name=name, actor=actor, args=args)
        for name, (actor, args) in parts.items()
        if name not in without
    )
    await s.raise_curtain(SupervisorSpec(intensity=5, children=children))


def alerts(s: Stage) -> tuple[str, ...] | None:
    """What the gateway was told last."""
    heard = [of.detail for of in s.tale if isinstance(of, Told) and isinstance(of.detail, Condition)]
    return heard[-1].alerts if heard else None


async def ask(s: Stage, verb: str, body: Any = None, **args: str) -> Any:
    before = len(s.tale)
    await s.send(
        "alerter", Maintain(reply_to=s.port.address, request=1, verb=verb, by="olga", args=args, body=body)
    )
    await s.until(lambda: any(isinstance(msg, Reply) for msg in s.tale[before:]))
    return next(msg.body for msg in s.tale[before:] if isinstance(msg, Reply))


async def end(s: Stage, folder: Path) -> None:
    await s.root.stop()
    if (left := opened(folder)) is not None:
        left.close()


def test_an_alert_is_told_acknowledged_outlives_a_crash_and_is_over(folder: Path) -> None:
    async def scene(s: Stage) -> None:
        await raise_hub(s, folder)
        await s.until(lambda: alerts(s) == (NOBODY,))
        done = await ask(s, "alert.acknowledge", rule_id="no_agents_online")
        assert (done.status, done.rule_id) == ("acknowledged", "no_agents_online")
        s.tale.clear()
        await s.send("alerter", CrashNow())
        await s.until(lambda: alerts(s) == (f"{NOBODY} (olga looks after it)",))
        await s.send("presence", HERE)
        await s.until(lambda: alerts(s) == ())
        assert (await ask(s, "alert.acknowledge", rule_id="no_agents_online")).code == "not_found"
        await end(s, folder)

    play(scene)


def test_a_gateway_that_starts_again_hears_what_stands(folder: Path) -> None:
    async def scene(s: Stage) -> None:
        await raise_hub(s, folder)
        await s.until(lambda: alerts(s) == (NOBODY,))
        await ask(s, "alert.acknowledge", rule_id="no_agents_online")
        s.tale.clear()
        await s.send("gateway", CrashNow())
        await s.until(lambda: alerts(s) == (f"{NOBODY} (olga looks after it)",))
        await end(s, folder)

    play(scene)


def test_nobody_is_missed_while_presence_cannot_say_who_is_here(folder: Path) -> None:
    async def scene(s: Stage) -> None:
        await raise_hub(s, folder, without=("presence",))
        await s.tree_until(lambda _: Reader(handle(folder)).get("alerts", ("window",)))
        assert alerts(s) == ()
        await end(s, folder)

    play(scene)


def test_thresholds_are_on_disk_when_they_are_answered(folder: Path) -> None:
    async def scene(s: Stage) -> None:
        await raise_hub(s, folder, check_s=3_600.0)
        wanted = Thresholds(high_error_rate=HighErrorRate(failures=3))
        assert (await ask(s, "alert.thresholds_put", wanted)).high_error_rate == wanted.high_error_rate
        row = Reader(handle(folder)).get("alerts", ("thresholds",))
        assert row["high_error_rate"] == {"failures": 3, "cooldown_ms": 300_000}
        assert (await ask(s, "nonsense")).code == "not_found"
        await end(s, folder)

    play(scene)
