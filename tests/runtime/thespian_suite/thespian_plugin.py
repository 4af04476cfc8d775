"""Makes the tests that Thespian ships run on our loop base: a pytest plugin that replaces their fixture.

Used by ../test_thespian_suite.py in a process of its own. STRICT=1 in the environment chooses strict mode.
"""

import os
from pathlib import Path

import pytest
import thespian.test
from thespian.actors import ActorSystem

from agentcom.runtime import LoopSystemBase

STRICT = os.environ.get("STRICT") == "1"

# Part of a test's id -> why it does not concern a base that is one process.
CONVENTION = "a convention of several systems, in which one creates actors on another; one process has none"
SOURCE = "loading code by its hash, which is for remote systems, is refused"
SLEEPS = "its 100 actors sleep at once for longer than its time-out, and share one thread"
LEFT_OUT: dict[str, str] = {
    "TestFuncManyActorSystem": CONVENTION,
    "TestFuncConventionWatcher": CONVENTION,
    "TestFuncConventionDeregistration": CONVENTION,
    "TestFuncMultiProcessSystem": CONVENTION,
    "TestFuncRegistration": CONVENTION,
    "TestFuncCapabilityUpdates": CONVENTION,
    "TestFuncMultipleSystemsLoadSource": SOURCE,
    "TestFuncLoadSource": SOURCE,
    "testLoadable": SOURCE,
    "private_context[100]": SLEEPS,
    "private_context_ask[100]": SLEEPS,
}

# Tests among those that one process can pass, and does.
KEPT = (
    "test00",
    "TestFuncManyActorSystem::test01_checkAllSystemStart",
    "TestFuncManyActorSystem::test08_requiredRequirementsNotPassedFails",
    "TestFuncMultiProcessSystem::test01_SimpleActor",
    "TestFuncMultiProcessSystem::test02_SimpleActorMatchPrimaryCapabilities",
    "TestFuncMultiProcessSystem::test05_LocalActorSend",
    "TestFuncMultiProcessSystem::test09_LocalActorAsk",
    "TestFuncMultiProcessSystem::test11_UnsupportableActorAsk",
    "TestFuncMultiProcessSystem::test12_CreateLocalChildActor",
    "TestFuncRegistration::testBadRegistrationAddress",
    "TestFuncLoadSource::test02_verifyNotificationNotAvailableOnActorSystemItself",
    "TestFuncCapabilityUpdates::test01_defaultSystemsDoNotSupportColorActors",
    "TestFuncCapabilityUpdates::test04_addMultipleColorCapabilitiesToLeaderActorSystemAllowsColorActors",
    "TestFuncCapabilityUpdates::test04_1_actorAddCapabilitiesEnablesOtherActors",
    "TestFuncCapabilityUpdates::test11_allSubActorsNotifiedOfCapabilityChanges",
    "TestFuncCapabilityUpdates::test13_removeOriginalCapabilitiesAffectsActorDrivenCreateRequests",
)


def make_system(capabilities):
    base = LoopSystemBase(dict(capabilities), strict=STRICT)
    system = ActorSystem(systemBase=base, capabilities=base.capabilities, transientUnique=True)
    system.base_name = "loop"
    system.port_num = None
    system.txonly = False
    return system


@pytest.fixture
def asys():
    system = make_system({"Foo Allowed": True, "Cows Allowed": True, "Dogs Allowed": True, "dog": "food"})
    yield system
    if system._systemBase is not None:
        system.shutdown()


def similar_asys(asys, in_convention=True, start_wait=True, capabilities=None):
    return make_system(capabilities or {})


# The shipped modules say `from thespian.test import *`, so what they will find is replaced before they do.
thespian.test.asys = asys
thespian.test.similar_asys = similar_asys


def pytest_collection_modifyitems(config, items):
    kept, left = [], []
    matched = set()
    for item in items:
        reasons = [part for part in LEFT_OUT if part in item.nodeid]
        matched.update(reasons)
        if any(part in item.nodeid for part in KEPT):
            reasons = []
        (left if reasons or "asys" not in _fixtures(item) else kept).append(item)
    items[:] = kept
    config.hook.pytest_deselected(items=left)
    stale = set(LEFT_OUT) - matched
    assert not stale, f"these match no test any more: {sorted(stale)}"


def _fixtures(item):
    return getattr(item, "fixturenames", ())


def suite_files():
    folder = Path(thespian.test.__file__).parent
    return sorted(str(path) for path in folder.glob("test_*.py") if "asys" in path.read_text())
