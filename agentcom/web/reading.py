"""What an ASGI scope and its body say, read once and bounded; and the headers of an answer.

May import: agentcom.core.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from agentcom.core.answers import Answer
from agentcom.core.messages import Fault

FORWARDING = frozenset(
    {
        b"forwarded",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
        b"x-real-ip",
        b"via",
        b"origin",
    }
)
"""Headers of a proxy, or of a page in a browser: whoever sends one is not a plain local client."""

_JSON = (b"content-type", b"application/json")

DISCARD = 8
"""An oversized body is read and thrown away up to so many times the bound, so that the answer reaches its sender."""

BODY_S = 30.0
"""A body that takes longer to arrive is given up, so that nobody holds memory by sending slowly."""

Headers = Iterable[tuple[bytes, bytes]]
Receive = Callable[[], Awaitable[Any]]


class Head(NamedTuple):
    """The headers that mean something here."""

    token: str = ""
    length: int = 0
    key: str = ""
    host: str = ""
    forwarded: bool = False
    csrf: str | None = None  #: what came with a login cookie; None when the token came as a header
    forwarded_for: str = ""
    forwarded_proto: str = ""
    origin: str = ""
    url_token: str = ""  #: `?token=`


COOKIE = "agentcom_login"


def read_head(headers: Headers) -> Head:
    """A token in a header counts before a cookie."""
    token = key = host = cookie = csrf = ""
    said: dict[bytes, str] = {}
    length, forwarded = 0, False
    for name, value in headers:
        if name == b"authorization":
            token = _bearer(value)
        elif name == b"content-length":
            length = int(value) if value.isdigit() and len(value) < 16 else 0
        elif name == b"idempotency-key":
            key = value.decode("latin-1")
        elif name == b"host":
            host = value.decode("latin-1")
        elif name in FORWARDING:
            forwarded = True
            said[name] = (
                f"{said[name]},{value.decode('latin-1')}" if name in said else value.decode("latin-1")
            )
        elif name == b"cookie":
            cookie = cookie or _login_in(value.decode("latin-1"))
        elif name == b"x-csrf-token":
            csrf = value.decode("latin-1")
    by_cookie = bool(cookie) and not token
    return Head(
        token or cookie,
        length,
        key,
        host,
        forwarded,
        csrf if by_cookie else None,
        said.get(b"x-forwarded-for", ""),
        said.get(b"x-forwarded-proto", ""),
        said.get(b"origin", ""),
    )


def _login_in(cookies: str) -> str:
    for each in cookies.split(";"):
        name, _, value = each.strip().partition("=")
        if name == COOKIE:
            return value
    return ""


def login_cookie(secret: str, max_age_s: int, scheme: str) -> str:
    """The header that sets it, or with an empty secret ends it. Scripts cannot read it; other sites cannot send it."""
    secure = "; Secure" if scheme == "https" else ""
    age = max_age_s if secret else 0
    return f"{COOKIE}={secret}; Path=/; HttpOnly; SameSite=Strict; Max-Age={age}{secure}"


def _bearer(value: bytes) -> str:
    scheme, _, token = value.decode("latin-1").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def peer_of(scope: Any) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""


async def read_body(receive: Receive, length: int, cap: int) -> bytes | Fault:
    """The whole body, or why not."""
    try:
        async with asyncio.timeout(BODY_S):
            return await _read_body(receive, length, cap)
    except TimeoutError:
        return Fault("bad_json", f"the body did not arrive within {BODY_S:g} s")


async def _read_body(receive: Receive, length: int, cap: int) -> bytes | Fault:
    chunks: list[bytes] = []
    size, more = 0, True
    while more and size <= cap * DISCARD:
        event = await receive()
        if event["type"] == "http.disconnect":  # half a body may look like a whole one
            return Fault("bad_json", "the sender went away")
        chunk = event.get("body", b"")
        size += len(chunk)
        if size <= cap and length <= cap:
            chunks.append(chunk)
        more = event.get("more_body", False)
    return (
        b"".join(chunks) if max(size, length) <= cap else Fault("too_large", f"a body may have {cap} bytes")
    )


def read_query(raw: bytes) -> dict[str, str] | Fault:
    if not raw:
        return {}
    try:
        pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, max_num_fields=100, errors="strict")
    except (UnicodeDecodeError, ValueError) as error:
        return Fault("bad_frame", f"the query string cannot be read: {error}", "query")
    return dict(pairs)


def headers_of(answer: Answer, length: int) -> list[tuple[bytes, bytes]]:
    headers = [_JSON, (b"content-length", str(length).encode())]
    if answer.retry_after_ms:
        headers.append((b"retry-after", str(-(-answer.retry_after_ms // 1000)).encode()))
    if answer.cookie is not None:
        headers.append((b"set-cookie", answer.cookie.encode()))
    if answer.near is not None:
        tier, left = answer.near
        headers.append((b"x-ratelimit-near", f"{tier}; remaining={left}".encode()))
    if answer.cursor:
        headers.append((b"x-next-cursor", answer.cursor.encode()))
    if answer.status == 413:
        headers.append((b"connection", b"close"))
    if answer.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    return headers
