"""The files of the dashboard, for browsers: small, read once, with headers that let them load nothing from elsewhere.

May import: agentcom.core.
"""

from importlib.resources import files
from typing import Any, NamedTuple


class Page(NamedTuple):
    route: str  #: its name in the route table, which says what it costs
    headers: list[tuple[bytes, bytes]]
    body: bytes


_FILES = {
    "/dashboard": ("page.dashboard", "dashboard.html", b"text/html; charset=utf-8"),
    "/dashboard.js": ("page.script", "dashboard.js", b"text/javascript; charset=utf-8"),
    "/dashboard.css": ("page.style", "dashboard.css", b"text/css; charset=utf-8"),
    "/sw.js": ("page.worker", "sw.js", b"text/javascript; charset=utf-8"),
}
_HEADERS = [
    (b"cache-control", b"no-cache"),
    # No inline script or style, nothing from other hosts, and no other site may show it in a frame.
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
]


def load() -> dict[str, Page]:
    """By path."""
    return {path: _page(*of) for path, of in _FILES.items()}


def _page(route: str, name: str, kind: bytes) -> Page:
    body = files("agentcom.web").joinpath("pages", name).read_bytes()
    return Page(
        route, [(b"content-type", kind), (b"content-length", str(len(body)).encode()), *_HEADERS], body
    )


async def show(send: Any, page: Page) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": page.headers})
    await send({"type": "http.response.body", "body": page.body})
