"""Tells systemd that the hub serves, that it stops, and that its loop still answers (sd_notify).

Lives here: the datagrams, and their rhythm. Without NOTIFY_SOCKET nothing is sent.
May import: structlog, the standard library.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping

import structlog

log = structlog.get_logger()


class Notifier:
    """`ping_s` is half of what systemd's watchdog allows; 0 where it does not watch us."""

    def __init__(self, address: str = "", ping_s: float = 0.0) -> None:
        self.ping_s = ping_s
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._unheard = False

    @classmethod
    def of(cls, environ: Mapping[str, str], pid: int) -> Notifier:
        """What systemd told this process; its watchdog may be meant for another one."""
        usec = environ.get("WATCHDOG_USEC", "")
        ours = environ.get("WATCHDOG_PID", str(pid)) == str(pid)
        return cls(environ.get("NOTIFY_SOCKET", ""), int(usec) / 2e6 if ours and usec.isdigit() else 0.0)

    def ready(self, url: str) -> None:
        self._tell(f"READY=1\nSTATUS=serving on {url}")

    def stopping(self) -> None:
        self._tell("STOPPING=1\nSTATUS=stopping")

    def ping_from(self, loop: asyncio.AbstractEventLoop) -> None:
        """Again and again, by timers of this loop: one that hangs is silent, and systemd ends the process."""
        if self._address and self.ping_s > 0:
            self._tell("WATCHDOG=1")
            loop.call_later(self.ping_s, self.ping_from, loop)

    def _tell(self, state: str) -> None:
        """systemd that cannot be reached is no reason to stop serving; it acts by itself when it hears nothing."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
                out.setblocking(False)
                out.sendto(state.encode(), self._address)
        except OSError as error:
            if not self._unheard:
                log.warning("systemd.unheard", problem=str(error))
            self._unheard = True
        else:
            self._unheard = False
