"""The gateway's shell in simulated time."""

from typing import Any

import pytest

from actors.gateway import GatewayArgs
from agentcom.core.gateway_sessions import TICK_S
from agentcom.core.gateway_state import Rules
from agentcom.core.messages import Condition, HttpIn, Reply
from agentcom.runtime import SystemClock
from supervisors.messages import CrashNow
from supervisors.specs import ChildSpec, SupervisorSpec
from tests.store.helpers import LmdbStore
from tests.supervisors.stages import SimStage

DAY_S = 24 * 3600


@pytest.fixture
def stage(tmp_path, monkeypatch):
    """A gateway that was told at its start of a recovery an hour ago; the store's actor is played."""
    made, store = SimStage(1), LmdbStore(tmp_path / "data", sync=False)
    clock = made._sim.clock
    for name in ("now", "monotonic"):
        monkeypatch.setattr(SystemClock, name, staticmethod(getattr(clock, name)))
    said = Condition(
        "restore", {"how": "restored"}, ("the store was restored",), int((clock.now() + DAY_S - 3600) * 1000)
    )
    args = GatewayArgs(Rules(), str(store.folder), said=said)
    gateway = ChildSpec(name="gateway", actor="actors.gateway:GatewayActor", args=args)
    made.start(SupervisorSpec(intensity=5, children=(made.child("store"), gateway)))
    yield made
    made.close()
    store.close()


def health(stage: SimStage) -> Any:
    ask = HttpIn(
        reply_to=stage.audience, request=1, route="health", token="", args={}, body=b"", peer="127.0.0.1"
    )
    stage.send("gateway", ask)
    return [said for said in stage.look().tale if isinstance(said, Reply)][-1].body


def test_health_tells_of_a_recovery_for_a_day_while_the_hub_runs_on(stage):
    stage.until(lambda scene: scene.up("gateway"))
    assert (health(stage).status, health(stage).alerts) == ("degraded", ["the store was restored"])
    stage._sim.advance(DAY_S - 3600 - 2 * TICK_S)
    assert health(stage).parts == {"restore": {"how": "restored"}}
    stage._sim.advance(3 * TICK_S)
    assert (health(stage).status, health(stage).alerts, health(stage).parts) == ("ok", [], {})


def test_a_gateway_that_starts_again_later_does_not_tell_it_anew(stage):
    stage.until(lambda scene: scene.up("gateway"))
    stage._sim.advance(DAY_S)
    stage.send("gateway", CrashNow())
    stage.until(lambda scene: scene.up("gateway", start=2))
    assert health(stage).alerts == []
