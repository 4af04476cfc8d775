"""Where a hub is and how frames look on its WebSocket.

May import: httpx, msgspec, agentcom.protocol.
"""

import contextlib
import ipaddress
import ssl
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx
import msgspec

from agentcom.protocol import frames


class Codec(msgspec.Struct, frozen=True):
    """One subprotocol: its name, how a client's frames are written, how the hub's are read."""

    name: str
    encode: Callable[[Any], bytes | str]
    decode: Callable[[Any], Any]


def _reader(decode: Callable[[Any], Any], plain: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Reads the hub's frames. Raises `msgspec.DecodeError`, but not for a `task_ack` whose status only newer hubs know:
    it answers a report all the same, which would be sent again for ever.
    """

    def read(data: Any) -> Any:
        try:
            return decode(data)
        except msgspec.ValidationError:
            frame = plain(data)
            if not isinstance(frame, dict) or frame.get("type") != "task_ack":
                raise
            status = msgspec.convert(frame.get("status"), str)
            ack = msgspec.convert({**frame, "status": "accepted"}, frames.TaskAck)
            return msgspec.structs.replace(ack, status=status)

    return read


CODECS = {
    "json": Codec(
        "agentcom.v2.json",
        lambda frame: msgspec.json.encode(frame).decode(),
        _reader(msgspec.json.Decoder(frames.OutboundFrame).decode, msgspec.json.decode),
    ),
    "msgpack": Codec(
        "agentcom.v2.msgpack",
        msgspec.msgpack.Encoder().encode,
        _reader(msgspec.msgpack.Decoder(frames.OutboundFrame).decode, msgspec.msgpack.decode),
    ),
}


def ws_url(url: str) -> str:
    """`http://host:4000` becomes `ws://host:4000/ws`; a ws URL with a path stays what it is."""
    parts = urlsplit(url)
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    base = parts.path.rstrip("/")
    path = base if base and parts.scheme in ("ws", "wss") else f"{base}/ws"
    return urlunsplit((scheme, parts.netloc, path, "", ""))


def check_url(url: str) -> None:
    """Raises ValueError with a sentence if no hub can be reached by it."""
    try:
        known = urlsplit(url).scheme in ("http", "https") and httpx.URL(url).host
        urlsplit(url).port  # noqa: B018  # raises for one out of range
    except (httpx.InvalidURL, ValueError) as exc:
        raise ValueError(f"not a URL: {url!r} ({exc})") from exc
    if not known:
        raise ValueError(f"expected a URL that begins with http:// or https:// and has a host, got: {url!r}")


def is_token(text: str) -> bool:
    """Whether a header can carry it: one word of ASCII."""
    return text.isascii() and text.isprintable() and " " not in text


def tls_of(url: str, ca_file: str = "") -> ssl.SSLContext | None:
    """How a hub's certificate is checked: by this file alone, else by what this machine trusts. None without TLS.

    Raises OSError or ssl.SSLError for a file that cannot be used.
    """
    if urlsplit(url).scheme not in ("https", "wss"):
        return None
    return ssl.create_default_context(cafile=ca_file or None)


def is_local(url: str) -> bool:
    """Whether the hub is on this machine, where no proxy belongs in between."""
    host = urlsplit(url).hostname or ""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"
