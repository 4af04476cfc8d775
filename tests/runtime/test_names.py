"""Thespian finds our bases by name once this package has been imported."""

import pytest
from thespian.actors import Actor, ActorSystem

import agentcom.runtime


class Echo(Actor):
    def receiveMessage(self, msg, sender):
        if isinstance(msg, str):
            self.send(sender, msg)


class Purple(Echo):
    @staticmethod
    def actorSystemCapabilityCheck(capabilities, requirements):
        return capabilities.get("purple", False)


@pytest.mark.parametrize("name", ["LoopSystemBase", "SimSystemBase"])
def test_a_base_is_found_by_its_name(name):
    asys = ActorSystem(name, {"purple": True}, transientUnique=True)
    assert isinstance(asys._systemBase, getattr(agentcom.runtime, name))
    assert asys.ask(asys.createActor(Purple), "hello", 10) == "hello"
    asys.shutdown()


def test_systems_of_one_name_share_one_base():
    one = ActorSystem("LoopSystemBase")
    echo = one.createActor(Echo, globalName="echo")
    other = ActorSystem("LoopSystemBase")
    assert other._systemBase is one._systemBase
    assert other.createActor(Echo, globalName="echo") == echo
    one.shutdown()


def test_an_unknown_name_is_refused():
    with pytest.raises(ImportError, match="LopSystemBase"):
        ActorSystem("LopSystemBase", transientUnique=True)
