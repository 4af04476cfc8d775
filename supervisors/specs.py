"""Child and supervisor specs: data that prints, pickles and is checked before anything starts.

Lives here: the specs, by OTP's names, and the sentences that refuse a wrong one.
May import: msgspec, stdlib, supervisors.base (to check a class). Importing or building a spec starts nothing.
"""

from __future__ import annotations

import importlib
import math
import pickle
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Literal, get_args

import msgspec

from supervisors.base import Supervised

REGISTRY = "registry"
SUPERVISOR = "supervisors.supervisor:Supervisor"
DYNAMIC = "supervisors.dynamic:DynamicSupervisor"

Restart = Literal["permanent", "transient", "temporary"]
Strategy = Literal["one_for_one", "one_for_all", "rest_for_one"]
Kind = Literal["worker", "supervisor"]
AutoShutdown = Literal["never", "any_significant", "all_significant"]


class InvalidSpecError(ValueError):
    """A tree was refused before anything of it started; `problems` says every reason."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        return "; ".join(self.problems)


class Backoff(msgspec.Struct, frozen=True, kw_only=True):
    """How long to wait before start number n of a child that keeps failing: half fixed, half jitter."""

    base_s: float = 0.1
    cap_s: float = 30.0

    def delay(self, failures: int, draw: float) -> float:
        """`failures` counts from 1; `draw` is in [0, 1)."""
        full = min(self.cap_s, self.base_s * 2.0 ** min(failures - 1, 60))
        return full * (0.5 + draw / 2)


class ChildSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One child: what to start, when to start it again, how long it may take to begin and to end."""

    name: str
    actor: str  # "package.module:Class"; a name, so that a spec prints and pickles
    args: Any = None
    restart: Restart = "permanent"
    shutdown: float = 5.0
    kind: Kind = "worker"
    significant: bool = False
    start_timeout_s: float = 30.0
    # a child that is up answers a ping within this, or is killed; None: not asked
    hang_s: float | None = None

    @property
    def patience_s(self) -> float | None:
        """Seconds to end in after being asked; a supervisor has as long as its own children need."""
        return None if self.kind == "supervisor" or math.isinf(self.shutdown) else self.shutdown

    @property
    def readiness_s(self) -> float | None:
        """Seconds to get ready in; a supervisor's children each have their own."""
        limitless = self.kind == "supervisor" or math.isinf(self.start_timeout_s)
        return None if limitless else self.start_timeout_s


class SupervisorSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Children in start order, and what happens to the others when one ends."""

    strategy: Strategy = "one_for_one"
    intensity: int = 1
    period_s: float = 5.0
    auto_shutdown: AutoShutdown = "never"
    children: tuple[ChildSpec, ...] = ()
    backoff: Backoff | None = None  # for failed starts; None: try again at once, as OTP does


class DynamicSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Many children of one kind, started on first use, each with a restart budget of its own."""

    template: ChildSpec  # its name is the prefix of every child's name, e.g. "agent."
    intensity: int = 3
    period_s: float = 60.0
    backoff: Backoff = Backoff()
    max_children: int = 100_000  # running at once; asleep and quarantined ones do not count
    max_waiting: int = 1_000  # messages kept for one child while it starts or drains


def load(actor: str) -> type[Supervised]:
    """The class that "package.module:Class" names. Raises what importing does, TypeError or ValueError."""
    module, sep, name = actor.partition(":")
    if not sep or not module or not name:
        raise ValueError("expected package.module:Class")
    found = getattr(importlib.import_module(module), name)
    if not (isinstance(found, type) and issubclass(found, Supervised)):
        raise TypeError("it is not a Supervised actor class")
    return found


def supervisor(name: str, spec: SupervisorSpec, **fields: Any) -> ChildSpec:
    """A nested supervisor as a child."""
    return ChildSpec(name=name, actor=SUPERVISOR, args=spec, kind="supervisor", **fields)


def dynamic(name: str, spec: DynamicSpec, **fields: Any) -> ChildSpec:
    """A dynamic supervisor as a child."""
    return ChildSpec(name=name, actor=DYNAMIC, args=spec, kind="supervisor", **fields)


def with_registry(spec: SupervisorSpec) -> SupervisorSpec:
    """The same tree with the registry as its first child, if it named none."""
    if any(getattr(child, "name", "") == REGISTRY for child in spec.children):
        return spec
    registry = ChildSpec(name=REGISTRY, actor="supervisors.registry:Registry")
    return msgspec.structs.replace(spec, children=(registry, *spec.children))


# ── what is wrong with a spec ────────────────────────────────────────────────────────────────────


def problems(
    spec: SupervisorSpec | DynamicSpec | ChildSpec, where: str = "root", up: Iterable[str] | None = ()
) -> list[str]:
    """Every reason why this tree must not start; empty when it may.

    `up` are names that start before it; None: whether its needs are met is not asked.
    """
    found = list(_wrong(spec, where))
    if not found:
        found += _duplicates(spec)
        found += _misplaced_registry(spec)
        found += [] if up is None else _unmet_needs(spec, set(up))
    return found


def _wrong(spec: Any, where: str) -> Iterator[str]:
    if isinstance(spec, SupervisorSpec):
        yield from _wrong_supervisor(spec, where)
    elif isinstance(spec, DynamicSpec):
        yield from _wrong_dynamic(spec, where)
    elif isinstance(spec, ChildSpec):
        yield from _wrong_child(spec, where)
    else:
        yield f"{where}: expected a SupervisorSpec or DynamicSpec, got: {type(spec).__name__}"


def _wrong_supervisor(spec: SupervisorSpec, where: str) -> Iterator[str]:
    yield from _one_of(where, "strategy", spec.strategy, Strategy)
    yield from _one_of(where, "auto_shutdown", spec.auto_shutdown, AutoShutdown)
    yield from _wrong_budget(spec.intensity, spec.period_s, where)
    yield from _wrong_backoff(spec.backoff, where)
    for child in spec.children:
        if not isinstance(child, ChildSpec):
            yield f"{where}: expected children to be ChildSpecs, got: {type(child).__name__}"
            continue
        yield from _wrong_child(child, where)
        if spec.auto_shutdown == "never" and getattr(child, "significant", False):
            yield f"{where}: child {child.name} is significant, but auto_shutdown is never"


def _wrong_dynamic(spec: DynamicSpec, where: str) -> Iterator[str]:
    yield from _wrong_budget(spec.intensity, spec.period_s, where)
    yield from _wrong_backoff(spec.backoff, where)
    yield from _at_least(where, "max_children", spec.max_children, 1)
    yield from _at_least(where, "max_waiting", spec.max_waiting, 0)
    if not isinstance(spec.template, ChildSpec):
        yield f"{where}: expected template to be a ChildSpec, got: {type(spec.template).__name__}"
        return
    yield from _wrong_child(spec.template, where)
    if spec.template.significant:
        yield f"{where}: the template of dynamic children cannot be significant"
    if spec.template.kind != "worker":
        yield f"{where}: the template of dynamic children must be a worker"


def _wrong_child(spec: ChildSpec, where: str) -> Iterator[str]:
    if not (isinstance(spec.name, str) and spec.name):
        yield f"{where}: expected a child's name to be a non-empty string, got: {spec.name!r}"
    place = f"{where}/{spec.name}"
    yield from _one_of(place, "restart", spec.restart, Restart)
    yield from _one_of(place, "kind", spec.kind, Kind)
    yield from _at_least(place, "shutdown", spec.shutdown, 0)
    yield from _positive(place, "start_timeout_s", spec.start_timeout_s)
    if spec.hang_s is not None:
        yield from _finite(place, "hang_s", spec.hang_s)
    if spec.significant and spec.restart == "permanent":
        yield f"{place}: a permanent child cannot be significant"
    yield from _wrong_actor(spec, place)
    yield from _wrong_args(spec, place)
    if spec.actor in (SUPERVISOR, DYNAMIC):
        yield from _wrong_nested(spec, place)


def _wrong_nested(spec: ChildSpec, place: str) -> Iterator[str]:
    if spec.kind != "supervisor":
        yield f"{place}: expected kind to be supervisor, got: {spec.kind}"
    wanted = SupervisorSpec if spec.actor == SUPERVISOR else DynamicSpec
    if isinstance(spec.args, wanted):
        yield from _wrong(spec.args, place)
    else:
        yield f"{place}: expected args to be a {wanted.__name__}, got: {type(spec.args).__name__}"


def _wrong_actor(spec: ChildSpec, place: str) -> Iterator[str]:
    try:
        pickle.dumps(load(spec.actor))  # as a base with processes has to
    except Exception as exc:  # noqa: BLE001 - importing runs the module's own code, which may raise anything
        yield f"{place}: cannot use actor {spec.actor!r}: {exc}"


def _wrong_args(spec: ChildSpec, place: str) -> Iterator[str]:
    try:
        pickle.dumps(spec.args)
    except Exception as exc:  # noqa: BLE001 - pickling runs the arguments' own code, which may raise anything
        yield f"{place}: args cannot be pickled: {exc}"


def _wrong_budget(intensity: int, period_s: float, where: str) -> Iterator[str]:
    yield from _at_least(where, "intensity", intensity, 0)
    yield from _positive(where, "period_s", period_s)


def _wrong_backoff(backoff: Backoff | None, where: str) -> Iterator[str]:
    if backoff is not None:
        yield from _finite(where, "backoff.base_s", backoff.base_s)
        yield from _at_least(where, "backoff.cap_s", backoff.cap_s, backoff.base_s)


def _one_of(where: str, field: str, value: object, allowed: Any) -> Iterator[str]:
    if value not in get_args(allowed):
        yield f"{where}: expected {field} to be one of {', '.join(get_args(allowed))}, got: {value!r}"


def _at_least(where: str, field: str, value: float, least: float) -> Iterator[str]:
    if not _is_number(value) or not value >= least:
        yield f"{where}: expected {field} to be at least {least}, got: {value!r}"


def _positive(where: str, field: str, value: float) -> Iterator[str]:
    if not _is_number(value) or not value > 0:
        yield f"{where}: expected {field} to be a positive number, got: {value!r}"


def _finite(where: str, field: str, value: float) -> Iterator[str]:
    """Becomes a timer, which cannot wait for ever."""
    yield from _positive(where, field, value)
    if value == math.inf:
        yield f"{where}: expected {field} to be finite, got: {value!r}"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def names_in(spec: Any) -> Iterator[str]:
    """Every name of a tree, children before their supervisor."""
    if isinstance(spec, ChildSpec):
        yield from names_in(spec.args)
        yield spec.name
    for child in spec.children if isinstance(spec, SupervisorSpec) else ():
        yield from names_in(child)


def _duplicates(spec: Any) -> list[str]:
    counted = Counter(names_in(spec))
    return [f"the name {name} is used {n} times in the tree" for name, n in counted.items() if n > 1]


def _misplaced_registry(spec: Any) -> list[str]:
    first = isinstance(spec, SupervisorSpec) and spec.children and spec.children[0].name == REGISTRY
    if REGISTRY in names_in(spec) and not first:
        return [f"the {REGISTRY} must be the first child of the root"]
    return []


def _unmet_needs(spec: Any, earlier: set[str]) -> list[str]:
    """Walks in start order: readiness may wait only for what is ready by then."""
    if isinstance(spec, SupervisorSpec):
        return [problem for child in spec.children for problem in _unmet_needs(child, earlier)]
    if isinstance(spec, DynamicSpec):
        return _unmet(spec.template, earlier)
    if not isinstance(spec, ChildSpec):
        return []
    found = _unmet_needs(spec.args, earlier) + _unmet(spec, earlier)
    earlier.add(spec.name)
    return found


def _unmet(child: ChildSpec, earlier: set[str]) -> list[str]:
    needs = getattr(load(child.actor), "needs", ())
    return [
        f"{child.name} needs {need}, which does not start earlier" for need in needs if need not in earlier
    ]
