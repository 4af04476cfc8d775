"""The ASGI application: three hot routes and what is no JSON by hand, all others by Litestar. Frames of `/ws` do not
come this way.

The hot ones are by hand because a framework's routing, injection and response objects cost more than the gateway's own
work on them (docs/explanation/edge.md has figures). Both ways end in `handle`, so they cannot answer differently.
May import: agentcom.{core, protocol}, agentcom.web.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from agentcom.core.answers import Answer, failed
from agentcom.core.messages import Fault
from agentcom.core.routes import ROUTES, offered
from agentcom.protocol.metrics import CONTENT_TYPE, render
from agentcom.web import pages
from agentcom.web.api import allowed, make_api
from agentcom.web.dashboard import PATH, Dashboards, reader
from agentcom.web.reading import headers_of, login_cookie, peer_of, read_body, read_head, read_query

Scope = Any
Asgi = Callable[[Scope, Any, Any], Any]

_HOT = {("POST", "/api/tasks"): "task.submit", ("POST", "/api/tasks/batch"): "task.batch"}
_TASK = "/api/tasks/"
_NAMED_GETS = frozenset(
    route.path.removeprefix(_TASK)
    for route in ROUTES.values()
    if route.path.startswith(_TASK) and "{" not in route.path
)
_encode = msgspec.json.Encoder().encode


def make_app(edge: Any) -> Asgi:
    """`edge` answers requests."""
    api = make_api(edge, handle)
    routes = offered(chaos=edge.config.chaos.enabled)
    files, dashboards = pages.load(), Dashboards()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            hot = hot_route(scope["method"], scope["path"])
            page = files.get(scope["path"]) if scope["method"] == "GET" else None
            if page is not None:
                answer = await handle(edge, page.route, {}, scope, receive)
                await (pages.show(send, page) if answer.status == 200 else respond(send, answer))
            elif hot is not None:
                await respond(send, await handle(edge, hot[0], hot[1], scope, receive))
            elif (own := _OWN.get((scope["method"], scope["path"]))) is not None:
                await own(edge, scope, receive, send)
            elif scope["method"] == "GET" and (document := _DOCUMENTS.get(scope["path"].rstrip("/"))):
                answer = await handle(edge, document, {}, scope, receive)
                await (api(scope, receive, send) if answer.status == 200 else respond(send, answer))
            elif scope["method"] == "OPTIONS" and (methods := allowed(routes, scope["path"])):
                await tell_methods(send, methods)
            else:
                await api(scope, receive, send)
        elif scope["type"] == "websocket" and scope["path"] == PATH:
            await watch(edge, dashboards, scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})  # /ws does not come here

    return app


def hot_route(method: str, path: str) -> tuple[str, dict[str, str]] | None:
    """The route and its path parameters, if it is one of those served by hand."""
    if method == "POST":
        name = _HOT.get((method, path))
        return None if name is None else (name, {})
    if method == "GET" and path.startswith(_TASK):
        task_id = path[len(_TASK) :]
        if task_id and "/" not in task_id and task_id not in _NAMED_GETS:
            return "task.get", {"task_id": task_id}
    return None


async def handle(edge: Any, route: str, params: dict[str, str], scope: Scope, receive: Any) -> Answer:
    """Read one request, ask the gateway, wait for the answer."""
    head = read_head(scope["headers"])
    body: bytes | Fault = b""
    if scope["method"] not in ("GET", "DELETE"):
        body = await read_body(receive, head.length, edge.config.limits.max_frame_bytes)
        if isinstance(body, Fault):
            return failed(body)
    query = read_query(scope["query_string"])
    if isinstance(query, Fault):
        return failed(query)
    if secret := query.pop("token", ""):
        head = head._replace(url_token=secret)
    via = edge.proxies.via(peer_of(scope), scope["scheme"], head.forwarded_for, head.forwarded_proto)
    args = {**query, **params, "idempotency-key": head.key, "base_url": f"{via.scheme}://{head.host}"}
    answer: Answer = await edge.ask(route, args, head, body, via.peer)
    if answer.cookie is None:
        return answer
    cookie = login_cookie(answer.cookie, int(edge.config.hub.login_s), via.scheme)
    return answer._replace(cookie=cookie)


async def watch(edge: Any, dashboards: Dashboards, scope: Scope, receive: Any, send: Any) -> None:
    """A dashboard's socket. Pages of other hosts are turned away before it opens."""
    head = read_head(scope["headers"])
    via = edge.proxies.via(peer_of(scope), scope["scheme"], head.forwarded_for, head.forwarded_proto)
    if not edge.sockets.welcomes(head):
        await receive()
        await send({"type": "websocket.close", "code": 1008})
        return

    def ask(route: str, args: dict[str, str]) -> Any:
        return edge.ask(route, args, reader(head), b"", via.peer)

    await dashboards.serve(ask, receive, send)


async def stream(edge: Any, scope: Scope, receive: Any, send: Any) -> None:
    """GET /api/events. A browser that comes back says by a header where it was, whatever the URL says."""
    head = read_head(scope["headers"])
    via = edge.proxies.via(peer_of(scope), scope["scheme"], head.forwarded_for, head.forwarded_proto)
    query = read_query(scope["query_string"])
    if isinstance(query, Fault):
        return await respond(send, failed(query))

    def ask(after: str | None) -> Any:
        args = {} if after is None else {"after": after}
        return edge.ask("event.stream", args, head, b"", via.peer)

    after = dict(scope["headers"]).get(b"last-event-id", b"").decode("latin-1") or query.get("after")
    refused = await edge.streams.serve(ask, after, receive, send, scope["abort"])
    return None if refused is None else await respond(send, refused)


async def figures(edge: Any, scope: Scope, receive: Any, send: Any) -> None:
    """GET /metrics."""
    answer = await handle(edge, "metrics.text", {}, scope, receive)
    if answer.status != 200:
        return await respond(send, answer)
    body = render([*answer.body, *await edge.figures()])
    headers = [(b"content-type", CONTENT_TYPE.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
    return None


_OWN: dict[tuple[str, str], Callable[[Any, Scope, Any, Any], Awaitable[None]]] = {
    ("GET", ROUTES["event.stream"].path): stream,
    ("GET", ROUTES["metrics.text"].path): figures,
}


_DOCUMENTS = {
    "/schema": "page.schema",
    "/schema/openapi.json": "page.schema",
    "/schema/frames.json": "page.frames",
}
"""Litestar's own paths, which cost their reader what the route table says."""


async def tell_methods(send: Any, methods: list[str]) -> None:
    """Litestar answers for one of the handlers of a path only."""
    headers = [(b"allow", ", ".join(methods).encode())]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


async def respond(send: Any, answer: Answer) -> None:
    body = _encode(answer.body)
    await send(
        {"type": "http.response.start", "status": answer.status, "headers": headers_of(answer, len(body))}
    )
    await send({"type": "http.response.body", "body": body})
