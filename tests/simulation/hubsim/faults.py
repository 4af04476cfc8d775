"""What a fault does to the world. Each says in `world.seen` when it took effect, so that coverage is what happened."""

from collections.abc import Callable
from functools import partial
from typing import Any

from agentcom.runtime.cell import RUNNING
from agentcom.runtime.faults import set_trap
from hubsim.plan import Fault
from hubsim.sidecars import Sidecar
from supervisors.base import Supervised

JUMPS_S = (-20.0, -2.0, 2.0, 30.0, 600.0)
_table: dict[str, Callable[[Any, int], None]] = {}


def strike(world: Any, fault: Fault) -> None:
    _table[fault.kind](world, fault.pick)


def fault(*kinds: str) -> Callable[[Any], Any]:
    def register(act: Callable[..., None]) -> Callable[..., None]:
        for kind in kinds:
            _table[kind] = lambda world, pick, kind=kind: act(world, pick, kind)
        return act

    return register


def _pick(of: list[Any], pick: int) -> Any:
    return of[pick % len(of)] if of else None


# --- actors ------------------------------------------------------------------------------------------


def _victims(world: Any, pick: int) -> list[Any]:
    """Every second time among those with mail, if there are any: that is where races are."""
    found = [
        cell for cell in world.cells() if isinstance(cell.instance, Supervised) and cell.instance.name != "?"
    ]
    busy = [cell for cell in found if cell.depth]
    return busy if busy and pick // 1024 % 2 else found


@fault("crash_before", "crash_during", "crash_after")
def _crash(world: Any, pick: int, kind: str) -> None:
    """It befalls the actor at its next message."""
    cell = _pick(_victims(world, pick), pick)
    if cell is None:
        return

    def sprung() -> None:
        world.seen[kind] += 1

    if kind == "crash_after":
        _crash_after_the_next(world, cell, sprung)
    else:
        set_trap(cell.instance, None if kind == "crash_before" else pick // 64 % 5, sprung)


def _crash_after_the_next(world: Any, cell: Any, sprung: Callable[[], None]) -> None:
    actor = cell.instance

    def receive(message: Any, sender: Any) -> None:
        del actor.receiveMessage
        actor.receiveMessage(message, sender)
        if cell.state is RUNNING and actor._sv_phase != "ended":
            sprung()
            world.base.crash(cell)

    actor.receiveMessage = receive


def disarm(cells: list[Any]) -> None:
    """Traps that nobody stepped into."""
    for cell in cells:
        for name in ("receiveMessage", "_sv_receive", "send"):
            getattr(cell.instance, "__dict__", {}).pop(name, None)


@fault("kill")
def _kill(world: Any, pick: int, kind: str) -> None:
    """Gone without a word, with all below it."""
    victims = [cell for cell in _victims(world, pick) if cell.parent is not None]
    cell = _pick(victims, pick)
    if cell is not None:
        world.seen[kind] += 1
        world.base.kill(cell)


@fault("stall")
def _stall(world: Any, pick: int, kind: str) -> None:
    cell = _pick(_victims(world, pick), pick)
    if cell is not None:
        world.seen[kind] += 1
        world.stall([cell], (0.02, 0.5, 3.0, 12.0)[pick // 64 % 4])


@fault("ambush")
def _ambush(world: Any, pick: int, kind: str) -> None:
    """Where two could have one task: it strikes as soon as an offer or a claim is under way."""
    world.ambushes.append((_claimer if pick % 2 else _offerer, (0.5, 3.0, 12.0)[pick // 2 % 3]))


def spring(world: Any) -> None:
    """Ambushes whose moment has come."""
    world.ambushes = [
        (strikes, seconds) for strikes, seconds in world.ambushes if not strikes(world, seconds)
    ]


def _claimer(world: Any, seconds: float) -> bool:
    """Its claim waits in a lane that stands still; the agent's actor crashes."""
    for cell in world.cells():
        reserved = getattr(getattr(cell.instance, "agent", None), "reserved", None)
        if (
            reserved is not None
            and (lane := world.cell_of(f"lane.{reserved.lane}")) is not None
            and lane.depth
        ):
            world.seen["ambush"] += 1
            world.stall([lane], seconds)
            world.base.crash(cell)
            return True
    return False


def _offerer(world: Any, seconds: float) -> bool:
    """The agent's actor stands still with an offer before it; the scheduler crashes and forgets that it made it."""
    scheduler = world.cell_of("scheduler")
    for flight in getattr(
        getattr(getattr(scheduler, "instance", None), "core", None), "_flights", {}
    ).values():
        cell = world.cell_of(f"agent.{flight.agent_id}")
        if cell is not None and cell.depth:
            world.seen["ambush"] += 1
            world.stall([cell], seconds)
            world.base.crash(scheduler)
            return True
    return False


# --- the process and its machine -----------------------------------------------------------------------


@fault("lose_process")
def _lose(world: Any, pick: int, kind: str) -> None:
    world.seen[kind] += 1
    world.lose_process(kind)


@fault("stand_still")
def _stand_still(world: Any, pick: int, kind: str) -> None:
    """The hub alone, while its clients go on; or the whole machine, them included."""
    world.seen[kind] += 1
    seconds = (2.0, 8.0, 20.0, 60.0)[pick % 4]
    if pick // 4 % 2:
        world.stands_still(seconds)
        world.clock.advance(seconds)
    else:
        world.stall(world.cells(), seconds)


@fault("jump_clock")
def _jump(world: Any, pick: int, kind: str) -> None:
    world.seen[kind] += 1
    world.clock.jump(JUMPS_S[pick % len(JUMPS_S)])


@fault("fail_commit")
def _fail_commit(world: Any, pick: int, kind: str) -> None:
    world.around.weather.fail_next = 1


@fault("break_disk")
def _break_disk(world: Any, pick: int, kind: str) -> None:
    world.around.weather.broken = True


@fault("fill_disk")
def _fill_disk(world: Any, pick: int, kind: str) -> None:
    weather = world.around.weather
    weather.full, weather.map_full = True, bool(pick % 2)

    def room_again() -> None:
        weather.full = False

    world.agenda.after((0.3, 2.0, 8.0)[pick // 2 % 3], room_again)


# --- the network and its clients -----------------------------------------------------------------------


@fault("disconnect")
def _disconnect(world: Any, pick: int, kind: str) -> None:
    if line := _pick(world.net.lines, pick):
        world.seen[kind] += 1
        line.cut(lose=bool(pick // 16 % 2))


@fault("half_open")
def _half_open(world: Any, pick: int, kind: str) -> None:
    if line := _pick(world.net.lines, pick):
        world.seen[kind] += 1
        line.go_silent()


@fault("delay_line")
def _delay_line(world: Any, pick: int, kind: str) -> None:
    if line := _pick(world.net.lines, pick):
        world.seen[kind] += 1
        pipe = line.to_client if pick // 16 % 2 else line.to_hub
        pipe.slower_s = (0.3, 2.0, 9.0)[pick // 32 % 3]


@fault("drop_request", "drop_answer", "duplicate_request", "delay_request")
def _mishap(world: Any, pick: int, kind: str) -> None:
    for n in range(1 + pick % 3):
        world.net.mishaps.append((kind, (0.0, 0.005, 0.5, 4.0)[(pick // 4 + n) % 4]))


@fault("restart_sidecar")
def _restart_sidecar(world: Any, pick: int, kind: str) -> None:
    sidecar = _pick([of for of in world.sidecars if not of.retired], pick)
    if sidecar is not None:
        world.seen[kind] += 1
        sidecar.restart()


@fault("isolate")
def _isolate(world: Any, pick: int, kind: str) -> None:
    """For a time; or until somebody else has what it works on, when its last word is worth the least."""
    world.seen[kind] += 1
    sidecar = _pick([of for of in world.sidecars if of.works] or world.sidecars, pick)
    if pick // 16 % 3:
        sidecar.isolate(60.0)
        world.ambushes.append((partial(_return_when_replaced, sidecar), 0.0))
    else:
        sidecar.isolate((5.0, 15.0, 30.0, 45.0)[pick // 64 % 4])


def _return_when_replaced(sidecar: Sidecar, world: Any, _: float) -> bool:
    tasks = world.ledger.tasks
    if any(tasks[task_id].generation > generation for task_id, generation in sidecar.works.items()):
        sidecar.come_back()
        return True
    return False


@fault("second_instance")
def _second_instance(world: Any, pick: int, kind: str) -> None:
    """Somebody starts the same agent's sidecar on another machine."""
    first = _pick(world.sidecars, pick)
    instance = f"more-{len(world.sidecars)}"
    second = Sidecar(world.outside, first.agent, instance, tuple(first.capabilities), first.codec)
    world.sidecars.append(second)
    world.seen[kind] += 1
    second.dial(takeover=bool(pick // 16 % 2))
