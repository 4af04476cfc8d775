"""The composition root: settings → system → supervision tree → edge.

Order at start: the socket and the data folder first, so that a port in use or a second hub is refused before
anything is changed; then the store is looked at, and recovered if need be; then the tree; then the edge serves. At
the end: the edge drains, the tree stops in reverse, the store writes its clean mark last.
"""

import asyncio
import faulthandler
import gc
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog
import uvloop
from msgspec.structs import replace
from thespian.actors import ActorSystem

from agentcom import exit_codes, logging, starting
from agentcom.config import Config
from agentcom.core.messages import Administer, Fault, Reply
from agentcom.keeper import Leash
from agentcom.open_files import Room, room_for
from agentcom.protocol.errors import Unavailable
from agentcom.runtime import LoopSystemBase, LoopWatchdog
from agentcom.systemd import Notifier
from agentcom.tending import Tending
from agentcom.web.edge import Edge
from agentcom.web.server import check_tls, listen
from supervisors.root import Root, RootGaveUpError
from supervisors.tree import hub_tree

log = structlog.get_logger()

SWITCH_INTERVAL_S = 0.00001
"""The commit thread competes for the interpreter with the loop; chosen by benchmark, see docs/explanation/speed.md."""
DRAIN_S = 10.0
BOOTSTRAP_S = 10.0


def run(config: Config, environ: Mapping[str, str], leash: Leash | None = None) -> int:
    """Serve until SIGTERM or SIGINT, until the tree gives up or the keeper dies. Returns the process' exit code.

    `environ` tells of systemd, `leash` of the keeper; both may be empty.

    A full disk is waited for, unless the store would be new. Raises `BadTls`, `PortInUse`, `DataFolderLocked`,
    `NewerSchema`, `StorageFull` or `OSError` before anything was changed.
    """
    logging.configure(level=config.log.level, format=config.log.format)
    faulthandler.enable()  # a file cut under its map is SIGBUS: at least say where
    check_tls(config.tls)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    listener = listen(config.hub.host, config.hub.port)
    with listener:
        folder = Path(config.hub.data).absolute()
        started = starting.start_patiently(config, folder, _waits_for_room)
        found = started.env
        log.info("store.opened", data=str(folder), life=found.life, after_clean_stop=found.was_clean,
                 epoch=started.epoch)  # fmt: skip
        for change in found.migrated:
            log.info("store.migrated", before=change.before, after=change.after, puts=change.puts,
                     deletes=change.deletes, copy=change.copy)  # fmt: skip
        if not found.sync:
            log.warning(
                "store.sync_interval", risk="a power cut may lose the last second of acknowledged work"
            )
        config = _within_files(config)
        hub = Hub(config, folder, Notifier.of(environ, os.getpid()), leash, started)
        try:
            return uvloop.run(hub.serve(listener))
        except Exception:  # the root that gives up is told apart in there; this is a bug beside it
            log.exception("hub.crashed")
            return exit_codes.ROOT_GAVE_UP


def _within_files(config: Config) -> Config:
    """A connection more than there are files would not be refused, but hang."""
    limits = config.limits
    wanted = Room(limits.max_sessions, limits.max_http_connections)
    room = room_for(wanted)
    if room == wanted:
        return config
    log.warning("hub.few_files", sessions=room.sessions, http_connections=room.http,
                wanted=f"{wanted.sessions} and {wanted.http}",
                remedy="raise the limit of open files (ulimit -n)")  # fmt: skip
    limits = replace(limits, max_sessions=room.sessions, max_http_connections=room.http)
    return replace(config, limits=limits)


class Hub:
    """One hub in one process."""

    def __init__(
        self, config: Config, folder: Path, notifier: Notifier, leash: Leash | None, started: starting.Started
    ) -> None:
        self.config = config
        self.tree = hub_tree(config, str(folder), started.epoch, started.condition())
        self.folder = folder
        self.notifier = notifier
        self.leash = leash
        self.stopping = asyncio.Event()

    async def serve(self, listener: Any) -> int:
        """From a bound socket to an orderly end."""
        loop = asyncio.get_running_loop()
        for number in _stop_signals():
            loop.add_signal_handler(number, self.stopping.set)
        if self.leash is not None:
            loop.add_reader(self.leash, self._let_loose)
        self.base = LoopSystemBase(strict=self.config.runtime.strict, loop=loop)
        ActorSystem(systemBase=self.base, transientUnique=True)
        self.watchdog = watchdog = LoopWatchdog(
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
            self.root = await Root.start(self.base, self.tree, name="hub")
        except RootGaveUpError as error:
            return _gave_up(error.gave_up)
        edge = Edge(self.base, self.config, Tending(self.base, self.root, self._lag_s).answer)
        self.root.watch(
            ["gateway"],
            lambda up: edge.gateway_up(up.address, up.incarnation),
            lambda _: edge.gateway_down(),
        )
        await self._bootstrap()
        host, port = listener.getsockname()[:2]
        if self.leash is not None:
            self.leash.served(port)  # before anyone can see that it serves, and kill it for that
        await edge.start(listener)
        _settle_garbage()
        scheme = "https" if self.config.tls.cert else "http"
        url = f"{scheme}://{host}:{port}"
        log.info("hub.serving", url=url, data=str(self.folder), pid=os.getpid(),
                 seconds=round(time.monotonic() - begun, 3))  # fmt: skip
        self.notifier.ready(url)
        self.notifier.ping_from(asyncio.get_running_loop())
        return await self._until_end(edge)

    def _lag_s(self) -> float:
        return self.watchdog.lag_s

    def _let_loose(self) -> None:
        """The keeper is gone: nobody would restart this hub, or find it in order to stop it."""
        assert self.leash is not None
        asyncio.get_running_loop().remove_reader(self.leash)
        log.warning("keeper.gone")
        self.stopping.set()

    async def _until_end(self, edge: Edge) -> int:
        stop = asyncio.ensure_future(self.stopping.wait())
        ends: list[asyncio.Future[Any]] = [stop, self.root.failed]
        if edge.ended is not None:
            ends.append(edge.ended)
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if self.root.failed.done():
            return _gave_up(self.root.failed.result())
        code = 0 if stop.done() else exit_codes.ROOT_GAVE_UP
        log.info("hub.stopping", asked=stop.done())
        self.notifier.stopping()
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
        try:
            answer = await self._ask_directory("bootstrap")
        except Unavailable as full:
            if full.code != "storage_full":
                raise
            # the next start tries again
            log.error("admin.token_not_written", file=str(path), reason=str(full))
            return
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


def _waits_for_room(why: str, again_in_s: float) -> None:
    log.error("store.waits_for_room", reason=why, again_in_s=again_in_s)


def _stop_signals() -> tuple[signal.Signals, ...]:
    """A terminal that closes drains the hub, unless nohup was to prevent that."""
    hangs_up = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    return (signal.SIGTERM, signal.SIGINT, *((signal.SIGHUP,) if hangs_up else ()))


def _settle_garbage() -> None:
    """What start-up built lives as long as the process: collections need not walk it again. Messages and rows are
    not tracked at all, so what is left to collect comes slowly."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _gave_up(reason: Any) -> int:
    log.critical("hub.gave_up", reason=reason.reason, last_crash=reason.last_crash)
    return exit_codes.ROOT_GAVE_UP


def _hung(*_: Any) -> None:
    log.critical("hub.hung")
    os._exit(exit_codes.HUNG)
