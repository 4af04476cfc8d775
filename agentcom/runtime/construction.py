"""From what createActor was given to an actor object: class, capabilities, arguments."""

import sys
from functools import lru_cache
from inspect import signature
from typing import Any

from thespian.actors import InvalidActorSpecification, NoCompatibleSystemForActor, ThespianGeneration
from thespian.system.utilis import actualActorClass

Capabilities = dict[str, Any]


def resolve(spec: Any) -> Any:
    """A class as it is, or imported from its dotted name."""
    found = actualActorClass(spec) if isinstance(spec, str) else spec
    if not isinstance(found, type):
        raise InvalidActorSpecification(spec, "not a class")
    return found


def fits(actor_class: Any, capabilities: Capabilities, requirements: Any) -> bool:
    """A check that raises is a check that says no, as in Thespian."""
    check = getattr(actor_class, "actorSystemCapabilityCheck", None)
    if check is None:
        return True
    try:
        return bool(check(capabilities, requirements or {}))
    except Exception:  # noqa: BLE001 - the actor class's own bug; another system may still fit it
        return False


def build(actor_class: Any, capabilities: Capabilities, requirements: Any) -> Any:
    if not fits(actor_class, capabilities, requirements):
        raise NoCompatibleSystemForActor(actor_class, "No compatible ActorSystem could be found")
    wanted = _wanted(actor_class)
    if not wanted:
        return actor_class()
    given = {"capabilities": capabilities, "requirements": requirements}
    return actor_class(**{name: given[name] for name in wanted})


@lru_cache(maxsize=1024)
def _wanted(actor_class: Any) -> tuple[str, ...]:
    """Which of Thespian's two optional arguments `__init__` names; inspecting a signature costs 20 µs."""
    try:
        named = signature(actor_class.__init__).parameters
    except (ValueError, TypeError):
        return ()
    return tuple(name for name in ("capabilities", "requirements") if name in named)


def our_capabilities(name: str, *, watch: bool) -> Capabilities:
    """What Thespian's own bases say of themselves."""
    return {
        "Python Version": tuple(sys.version_info),
        "Thespian Generation": ThespianGeneration,
        "Thespian Version": "0",
        "Thespian ActorSystem Name": name,
        "Thespian ActorSystem Version": 1,
        "Thespian Watch Supported": watch,
        "AllowRemoteActorSources": "No",
    }
