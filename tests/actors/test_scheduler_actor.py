"""The scheduler's shell on the strict loop base: names, coalescing, coming and going. Its rules are tested in core."""

from typing import Any

from thespian.actors import ActorAddress

from actors.scheduler import SchedulerArgs
from agentcom.core.messages import AgentReady, Bucket, Head, Offer, OfferDone, Window, Workers
from agentcom.core.scheduler import Rules
from agentcom.protocol.rows import LANES
from agentcom.runtime import ManualClock
from supervisors.specs import ChildSpec, DynamicSpec, SupervisorSpec
from tests.supervisors.troupe import Player, Stage, play

HEADS = (Head(1, "t1"), Head(2, "t2"))


class Witness(Player):
    """Stands for a lane or an agent: tells the stage what it hears."""

    def on_message(self, msg: Any, sender: ActorAddress) -> None:
        self.tell_tale("heard", msg)


def witness(s: Stage, name: str) -> ChildSpec:
    spec = s.child(name)
    return ChildSpec(name=name, actor=f"{__name__}:Witness", args=spec.args)


async def raise_hub(s: Stage) -> None:
    args = SchedulerArgs(rules=Rules(), clock=ManualClock(1_000_000))
    many = DynamicSpec(template=witness(s, "agent."))
    await s.raise_curtain(
        SupervisorSpec(
            children=(
                *(witness(s, f"lane.{lane}") for lane in LANES),
                ChildSpec(name="scheduler", actor="actors.scheduler:SchedulerActor", args=args),
                ChildSpec(
                    name="agents", actor="supervisors.dynamic:DynamicSupervisor", args=many, kind="supervisor"
                ),
            ),
            intensity=10,
        )
    )
    await s.until(lambda: all(heard(s, f"lane.{lane}", Workers) for lane in LANES))


def heard(s: Stage, name: str, kind: type) -> list[Any]:
    return [msg for msg in s.told("heard", name) if isinstance(msg, kind)]


def online(s: Stage, lane: str) -> set[str]:
    told = heard(s, f"lane.{lane}", Workers)
    return {name for of in told[-1].classes for name in of.agents} if told else set()


def window() -> Window:
    return Window("high", Bucket("", "any"), (), HEADS, False)


def test_an_offer_reaches_the_agent_and_its_answer_the_scheduler() -> None:
    async def scene(s: Stage) -> None:
        await raise_hub(s)
        await s.send("scheduler", AgentReady("ada", 1, ()))
        await s.send("scheduler", window())
        await s.until(lambda: heard(s, "agent.ada", Offer))
        await s.send("scheduler", OfferDone("ada", "high", "t1", True))
        await s.send("scheduler", AgentReady("ada", 1, ()))
        await s.until(lambda: len(heard(s, "agent.ada", Offer)) == 2)
        assert [offer.task_id for offer in heard(s, "agent.ada", Offer)] == ["t1", "t2"]

    play(scene)


def test_agents_that_come_together_are_told_to_the_lanes_together() -> None:
    async def scene(s: Stage) -> None:
        await raise_hub(s)
        address = await s.root.where("scheduler")
        assert address is not None
        for name in ("ada", "bob", "cyd"):
            s.port.send(address, AgentReady(name, 1, (name,)))
        await s.until(lambda: online(s, "low") == {"ada", "bob", "cyd"})
        assert [message.version for message in heard(s, "lane.low", Workers)] == [1, 2]

    play(scene)


def test_a_lane_that_starts_again_is_told_who_is_online() -> None:
    async def scene(s: Stage) -> None:
        await raise_hub(s)
        await s.send("scheduler", AgentReady("ada", 1, ()))
        await s.until(lambda: online(s, "high") == {"ada"})
        before = len(heard(s, "lane.high", Workers))
        await s.root.crash("lane.high")
        await s.until(lambda: len(heard(s, "lane.high", Workers)) > before)
        assert online(s, "high") == {"ada"}

    play(scene)


def test_a_scheduler_that_starts_again_knows_nobody_and_asks_the_lanes_anew() -> None:
    async def scene(s: Stage) -> None:
        await raise_hub(s)
        await s.send("scheduler", AgentReady("ada", 1, ()))
        await s.until(lambda: online(s, "high") == {"ada"})
        await s.root.crash("scheduler")
        await s.until(lambda: heard(s, "lane.high", Workers)[-1].version == 1)
        assert online(s, "high") == set()

    play(scene)


def test_when_the_agents_go_down_nobody_is_online() -> None:
    async def scene(s: Stage) -> None:
        await raise_hub(s)
        await s.send("scheduler", AgentReady("ada", 1, ()))
        await s.until(lambda: online(s, "high") == {"ada"})
        await s.root.crash("agents")
        await s.until(lambda: online(s, "high") == set())

    play(scene)
