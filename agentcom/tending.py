"""What operators ask of the supervision tree: look at it, restart one of it, and, for chaos, hurt it. And its figures.

The gateway allowed these requests, and only the composition root can answer them: it holds the tree.
May import: agentcom.{logging, process, protocol, runtime}, agentcom.core.missing, supervisors.root.
"""

import asyncio
import difflib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import structlog

from agentcom import logging, process
from agentcom.core.missing import no_such
from agentcom.protocol.errors import Refused
from agentcom.protocol.live_views import (
    ActorDetail,
    ActorList,
    ActorTold,
    ActorView,
    LoopBlocked,
    RestartBudget,
)
from agentcom.protocol.v1_bodies import LogLevelSet
from agentcom.protocol.views import Acknowledged
from agentcom.runtime import ActorFigures, LoopSystemBase
from supervisors.root import NodeInfo, RefusedError, Root, UnknownNameError

log = structlog.get_logger()

MAX_COMPARED = 5_000
"""Names that a wrong one is compared with: comparing is slow, and the loop waits meanwhile."""
MAX_BLOCK_S = 600.0

RESET_S = 0.5
"""Time for the answer to leave."""


class Tending:
    """Answers by route name; `chaos` routes do not exist without `chaos.enabled` (agentcom.core.routes)."""

    def __init__(self, base: LoopSystemBase, root: Root, lag_s: Callable[[], float]) -> None:
        """`lag_s` is how long the loop last took to answer."""
        self._base = base
        self._root = root
        self._lag_s = lag_s
        self._running: set[asyncio.Task[None]] = set()  #: the loop itself keeps no hold on them

    async def answer(self, route: str, args: Mapping[str, str]) -> Any:
        """Raises `Refused` with a sentence."""
        name = args.get("name", "")
        try:
            match route:
                case "actor.list":
                    return ActorList(await self._nodes())
                case "actor.get":
                    return await self._one(name)
                case "metrics.text":
                    return process.families(self._lag_s(), await self._root.restarts())
                case "actor.restart":
                    await self._restart(name)
                case "actor.crash":
                    await self._crash(name)
                case "admin.reset":
                    return self._reset_soon()
                case "admin.log_level":
                    return set_level(args["level"])
                case "chaos.block":
                    return block(args.get("seconds", ""))
                case _:
                    raise Refused("not_found", f"nothing answers {route}")
        except UnknownNameError as error:
            names = [node.name for node in await self._nodes()]
            raise Refused("not_found", unknown(name, names), path="name") from error
        except RefusedError as error:
            raise Refused("invalid_state", str(error)) from error
        return ActorTold(name=name)

    async def _nodes(self) -> list[ActorView]:
        figures = {of.address: of for of in self._base.figures()}
        return [_shown(node, figures.get(node.address)) for node in await self._root.tree()]

    async def _one(self, name: str) -> ActorDetail:
        node = msgspec.structs.asdict(await self._node(name))
        kept = await self._root.inspect(name)
        if kept is None:
            return ActorDetail(**node)
        budget = RestartBudget(**msgspec.structs.asdict(kept.budget))
        return ActorDetail(**node, **(msgspec.structs.asdict(kept) | {"budget": budget}))

    async def _node(self, name: str) -> ActorView:
        for node in await self._nodes():
            if node.name == name:
                return node
        raise UnknownNameError(name)

    async def _restart(self, name: str) -> None:
        if name == self._root.name:
            sentence = f"{name} is the root of the tree, which nobody restarts; stop the process instead"
            raise Refused("invalid_state", sentence)
        await self._root.restart(name)

    def _reset_soon(self) -> Acknowledged:
        """Everything depends on the store: what restarts with it is the whole hub but the web server."""
        log.warning("hub.reset", in_s=RESET_S)
        asyncio.get_running_loop().call_later(RESET_S, self._reset)
        return Acknowledged("resetting")

    def _reset(self) -> None:
        task = asyncio.get_running_loop().create_task(self._root.restart("store"))
        self._running.add(task)
        task.add_done_callback(self._reset_ended)

    def _reset_ended(self, task: asyncio.Task[None]) -> None:
        """It was answered before it began, so only the log can tell that it failed."""
        self._running.discard(task)
        if not task.cancelled() and (why := task.exception()) is not None:
            log.error("hub.reset_failed", exc_info=why)

    async def _crash(self, name: str) -> None:
        node = await self._node(name)
        if not node.address:
            raise Refused(
                "invalid_state", f"{name} is {node.state}: nothing runs that could crash", path="name"
            )
        log.warning("chaos.crashed", actor=name)
        await self._root.crash(name)


def set_level(level: str) -> LogLevelSet:
    """Until the next start."""
    logging.set_level("info" if level == "notice" else level)
    log.warning("log.level_changed", log_level=level)
    return LogLevelSet(level=level)


def block(seconds: str) -> LoopBlocked:
    """Chaos: the loop does nothing at all for so long, as if an actor never came back from a call."""
    try:
        wanted = float(seconds)
    except ValueError:
        wanted = 0.0
    if not 0 < wanted <= MAX_BLOCK_S:
        sentence = f"expected seconds to be a number above 0, at most {MAX_BLOCK_S:g}, got: {seconds}"
        raise Refused("bad_frame", sentence, path="seconds")
    log.warning("chaos.blocked", seconds=wanted)
    time.sleep(wanted)
    return LoopBlocked(seconds=wanted)


def unknown(name: str, names: Sequence[str]) -> str:
    """The sentence that refuses a name, with those that were probably meant."""
    near = difflib.get_close_matches(name, names[:MAX_COMPARED], n=3)
    near = near or [known for known in names if name and known.endswith(f".{name}")][:3]
    meant = f"; did you mean {' or '.join(near)}?" if near else ""
    return no_such("actor", name) + meant


def _shown(node: NodeInfo, of: ActorFigures | None) -> ActorView:
    if of is not None and not node.parent:
        node = msgspec.structs.replace(node, uptime_s=of.uptime_s)  # nobody counts the root's
    mailbox, handled = (0, 0) if of is None else (of.depth, of.handled)
    return ActorView(**msgspec.structs.asdict(node), mailbox=mailbox, handled=handled)
