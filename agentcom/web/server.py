"""uvicorn inside the hub's own loop: our socket, our shutdown, no signal handlers, no logs of its own.

May import: uvicorn, agentcom.config, agentcom.web.{connections, http, wire}.
"""

import asyncio
import contextlib
import errno
import os
import socket
import ssl
from collections.abc import Generator
from typing import Any

import uvicorn

from agentcom.config import Tls
from agentcom.web.connections import Connections
from agentcom.web.http import http_protocol_for
from agentcom.web.wire import protocol_for

STOP_S = 5


class PortInUse(Exception):
    """Another program listens there. Nothing was changed yet."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self.host, self.port = host, port

    def __str__(self) -> str:
        return f"port in use: {self.host}:{self.port}; choose another with --port, or stop what listens there"


def listen(host: str, port: int) -> socket.socket:
    """The hub's socket. Raises `PortInUse`, or OSError for a host that is not ours."""
    family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, proto)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(host, port) from error
        raise
    return listener


class Server(uvicorn.Server):
    """Signals are the hub's business; its end is told by `stop`, where uvicorn's looks ten times a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._told = asyncio.Event()

    def stop(self) -> None:
        """`serve` returns soon."""
        self.should_exit = True
        self._told.set()

    async def main_loop(self) -> None:
        """At each whole second of uvicorn's count of tenths it renews the header `Date`."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._told.wait(), 1.0)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Without uvicorn's pause when nobody is there any more."""
        if self.server_state.connections or self.server_state.tasks:
            return await super().shutdown(sockets)
        for listening in (*self.servers, *(sockets or ())):
            listening.close()
        return None

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


class BadTls(Exception):
    """`tls.cert` or `tls.key` cannot be used. Nothing was changed yet."""


def check_tls(tls: Tls) -> None:
    """Raises `BadTls` with a sentence that names the file."""
    if tls.key and not tls.cert:
        raise BadTls("tls.key is set and tls.cert is not")
    for name, path in (("tls.cert", tls.cert), ("tls.key", tls.key)):
        if path and not os.access(path, os.R_OK):
            raise BadTls(f"{name}: cannot read {path}")
    if tls.cert:
        try:
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(tls.cert, tls.key or None)
        except (ssl.SSLError, OSError) as error:
            raise BadTls(
                f"tls.cert, tls.key: {tls.cert} and its key cannot be used together: {error}"
            ) from error


def make_server(
    app: Any, watched: Connections, *, max_frame_bytes: int, sockets: Any = None, tls: Tls | None = None
) -> Server:
    """`sockets` takes the connections of `/ws`, `watched` knows all others; its owner sweeps it."""
    tls = tls or Tls()
    return Server(
        uvicorn.Config(
            app,
            http=http_protocol_for(watched),
            ws=protocol_for(sockets),
            ws_max_size=max_frame_bytes,
            ws_per_message_deflate=False,
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            ssl_certfile=tls.cert or None,
            ssl_keyfile=tls.key or None,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=STOP_S,
        )
    )


async def started(server: Server, serving: asyncio.Task[None]) -> None:
    """Return when it accepts connections; raise what ended it before."""
    while not server.started:
        if serving.done():
            serving.result()
            raise RuntimeError("the web server ended while it started")
        await asyncio.sleep(0.005)
