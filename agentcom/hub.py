"""The composition root: settings → system → supervision tree → edge.

Order at start: the socket and the data folder first, so that a port in use or a second hub is refused before
anything is changed; then the tree; then the edge serves. At the end: the edge drains, the tree stops in reverse,
the store writes its clean mark last.
"""

import asyncio
import gc
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import structlog
import uvloop
from thespian.actors import ActorSystem

from agentcom import logging
from agentcom.config import Config
from agentcom.core.messages import Administer, Fault, Reply
from agentcom.protocol.errors import Refused, Unavailable
from agentcom.runtime import LoopSystemBase, LoopWatchdog
from agentcom.store.env import open_environment
from agentcom.web.edge import Edge
from agentcom.web.server import listen
from supervisors.root import Root, RootGaveUpError, UnknownNameError
from supervisors.tree import hub_tree

log = structlog.get_logger()

EXIT_ROOT_GAVE_UP = 70
EXIT_HUNG = 75
SWITCH_INTERVAL_S = 0.00001
"""The commit thread competes for the interpreter with the loop; chosen by benchmark, see docs/explanation/speed.md."""
DRAIN_S = 10.0
BOOTSTRAP_S = 10.0


def run(config: Config) -> int:
    """Serve until SIGTERM or SIGINT, or until the tree gives up. Returns the process' exit code.

    Raises `PortInUse`, `DataFolderLocked`, `NewerSchema` or `OSError` before anything was changed.
    """
    logging.configure(level=config.log.level, format=config.log.format)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    listener = listen(config.hub.host, config.hub.port)
    with listener:
        folder = Path(config.hub.data).absolute()
        found = open_environment(folder, sync=config.store.sync == "always")
        log.info("store.opened", data=str(folder), life=found.life, after_clean_stop=found.was_clean)
        return uvloop.run(Hub(config, folder).serve(listener))


class Hub:
    """One hub in one process."""

    def __init__(self, config: Config, folder: Path) -> None:
        self.config = config
        self.folder = folder
        self.stopping = asyncio.Event()

    async def serve(self, listener: Any) -> int:
        """From a bound socket to an orderly end."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopping.set)
        self.base = LoopSystemBase(strict=self.config.runtime.strict, loop=loop)
        ActorSystem(systemBase=self.base, transientUnique=True)
        watchdog = LoopWatchdog(
            loop, warn_s=self.config.runtime.warn_s, hang_s=self.config.runtime.hang_s, on_hang=_hung
        )
        watchdog.start()
        try:
            return await self._serve(listener)
        finally:
            watchdog.stop()
            await self.base.aclose()

    async def _serve(self, listener: Any) -> int:
        begun = time.monotonic()
        try:
            self.root = await Root.start(self.base, hub_tree(self.config, str(self.folder)), name="hub")
        except RootGaveUpError as error:
            return _gave_up(error.gave_up)
        edge = Edge(self.base, self.config, self.delegate)
        self.root.watch(
            ["gateway"],
            lambda up: edge.gateway_up(up.address, up.incarnation),
            lambda _: edge.gateway_down(),
        )
        await self._bootstrap()
        await edge.start(listener)
        _settle_garbage()
        host, port = listener.getsockname()[:2]
        log.info("hub.serving", url=f"http://{host}:{port}", data=str(self.folder), pid=os.getpid(),
                 seconds=round(time.monotonic() - begun, 3))  # fmt: skip
        return await self._until_end(edge)

    async def _until_end(self, edge: Edge) -> int:
        stop = asyncio.ensure_future(self.stopping.wait())
        ends: list[asyncio.Future[Any]] = [stop, self.root.failed]
        if edge.ended is not None:
            ends.append(edge.ended)
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if self.root.failed.done():
            return _gave_up(self.root.failed.result())
        code = 0 if stop.done() else EXIT_ROOT_GAVE_UP
        log.info("hub.stopping", asked=stop.done())
        await edge.drain(DRAIN_S)
        await self.root.stop()
        log.info("hub.stopped")
        return code

    # --- the first admin token ---------------------------------------------------------------------

    async def _bootstrap(self) -> None:
        """A hub without a readable admin token of its own makes one: `admin.token`, readable by its owner only."""
        path = self.folder / "admin.token"
        if path.is_file() and path.stat().st_size:
            return
        answer = await self._ask_directory("bootstrap")
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(answer.token + "\n")
        log.info("admin.token_written", file=str(path))

    async def _ask_directory(self, verb: str) -> Any:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def receive(message: object, _sender: object) -> None:
            if isinstance(message, Reply) and not answer.done():
                answer.set_result(message.body)

        port = self.base.open_port(receive)
        try:
            address = await self.root.where("directory")
            if address is None:
                raise Unavailable("unavailable", "the directory is not up")
            ask = Administer(reply_to=port.address, request=0, verb=verb, by="hub", role="admin", args={})
            port.send(address, ask)
            async with asyncio.timeout(BOOTSTRAP_S):
                body = await answer
        finally:
            port.close()
        if isinstance(body, Fault):
            raise Unavailable(body.code, body.message)
        return body

    # --- what only the composition root can answer -------------------------------------------------

    async def delegate(self, route: str, args: dict[str, str]) -> Any:
        """Requests about the supervision tree, which the gateway allowed."""
        name = args.get("name", "")
        try:
            match route:
                case "actor.restart":
                    await self.root.restart(name)
                case "actor.crash":
                    await self.root.crash(name)
                case "actor.list":
                    return {"actors": await self._tree()}
                case _:
                    raise Refused("not_found", f"nothing answers {route}")
        except UnknownNameError as error:
            raise Refused("not_found", str(error), path="name") from error
        return {"status": "ok", "name": name}

    async def _tree(self) -> list[dict[str, Any]]:
        figures = {of.address: of for of in self.base.figures()}
        nodes = []
        for node in await self.root.tree():
            shown = msgspec.to_builtins(node)
            of = figures.get(node.address)
            shown |= {"mailbox": of.depth if of else 0, "handled": of.handled if of else 0}
            nodes.append(shown)
        return nodes


def _settle_garbage() -> None:
    """What start-up built lives as long as the process: collections need not walk it again. Messages and rows are
    not tracked at all, so what is left to collect comes slowly."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _gave_up(reason: Any) -> int:
    log.critical("hub.gave_up", reason=reason.reason, last_crash=reason.last_crash)
    return EXIT_ROOT_GAVE_UP


def _hung(*_: Any) -> None:
    log.critical("hub.hung")
    os._exit(EXIT_HUNG)
