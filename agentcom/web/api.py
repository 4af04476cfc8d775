"""The route table on Litestar, its OpenAPI document at `/schema`, the frames' at `/schema/frames.json`.

Litestar routes and documents; decoding, validation and authorisation are the gateway's, so that there is one of each.
May import: litestar, msgspec, agentcom.{core, protocol}, agentcom.web.
"""

import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import msgspec
import structlog
from litestar import Litestar, MediaType, Request, Response
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin

from agentcom.core.answers import Answer
from agentcom.core.missing import no_such
from agentcom.core.routes import Route, offered
from agentcom.protocol.bodies import ErrorBody
from agentcom.protocol.schema import frames_schema
from agentcom.web.reading import headers_of

log = structlog.get_logger()

Handle = Callable[[Any, str, dict[str, str], Any, Any], Awaitable[Answer]]
JSON = MediaType.JSON

_CODE_OF_STATUS = {400: "bad_frame", 404: "not_found", 405: "not_found"}

OF_DOCUMENTS = ("GET", "OPTIONS")
"""Methods of `/schema`, which is in no table."""


def make_api(edge: Any, handle: Handle) -> Litestar:
    routes = offered(chaos=edge.config.chaos.enabled)
    return Litestar(
        [_handler(route, edge, handle) for route in routes if route.media == JSON],
        openapi_config=OpenAPIConfig(
            title="AgentCom", version="2", path="/schema", render_plugins=[SchemaPlugin(routes)]
        ),
        exception_handlers={HTTPException: partial(_http_error, routes), Exception: _bug},
        logging_config=None,
        debug=False,
        request_max_body_size=None,  # the bound is ours, in `read_body`
    )


def _handler(route: Route, edge: Any, handle: Handle) -> HTTPRouteHandler:
    async def serve(request: Request[Any, Any, Any]) -> Response[bytes]:
        params = {name: str(value).lstrip("/") for name, value in request.path_params.items()}
        answer = await handle(edge, route.name, params, request.scope, request.receive)
        return _response(answer)

    path = re.sub(r"\{(\w+)\}", r"{\1:str}", route.path)
    made = HTTPRouteHandler(
        path,
        http_method=route.method,
        status_code=route.status,
        media_type=JSON,
        operation_id=route.name,
        summary=route.summary,
        name=route.name,
    )
    return made(serve)  # type: ignore[no-any-return, operator, unused-ignore]


def _response(answer: Answer) -> Response[bytes]:
    body = msgspec.json.encode(answer.body)
    headers = {name.decode(): value.decode() for name, value in headers_of(answer, len(body))}
    return Response(body, status_code=answer.status, headers=headers, media_type=JSON)


def _http_error(
    routes: tuple[Route, ...], request: Request[Any, Any, Any], error: HTTPException
) -> Response[ErrorBody]:
    """What Litestar itself refuses: unknown paths and methods."""
    status, path, headers = error.status_code, request.scope["path"], None
    code, message, methods = _CODE_OF_STATUS.get(status, "bad_frame"), error.detail, allowed(routes, path)
    if status == 404 and (not methods or request.method in methods):
        message = no_such("route", path)
    elif status in (404, 405):  # Litestar has not heard of what is no JSON
        # RFC 9110, 15.5.6: whoever is told that a method is not allowed is told which are.
        allow = ", ".join(methods or OF_DOCUMENTS)
        status, message, headers = (
            405,
            f"this method is not allowed here; allowed are {allow}",
            {"allow": allow},
        )
    return Response(ErrorBody(code, message), status_code=status, media_type=JSON, headers=headers)


def allowed(routes: tuple[Route, ...], path: str) -> list[str]:
    """The methods of this path; none, where nothing is."""
    path = path.rstrip("/") or path
    named = [each for each in routes if each.path == path]
    fitting = named or [each for each in routes if re.fullmatch(_pattern(each.path), path)]
    methods = {route.method for route in fitting}
    return sorted({"OPTIONS", *methods}) if methods else []


def _pattern(path: str) -> str:
    return re.sub(r"\{\w+\}", "[^/]+", re.sub(r"\{\w+:path\}", ".+", path))


def _bug(_request: Request[Any, Any, Any], error: Exception) -> Response[ErrorBody]:
    log.error("web.failed", exc_info=error)
    body = ErrorBody("unavailable", "this failed inside the hub; its log says why")
    return Response(body, status_code=500, media_type=JSON)


class SchemaPlugin(JsonRenderPlugin):
    """Litestar's document, completed with the bodies and answers of the route table; beside it the frames'."""

    def __init__(self, routes: tuple[Route, ...]) -> None:
        super().__init__(path=["/", "/openapi.json", "/frames.json"], media_type=JSON)
        self._routes = routes
        self._document = self._frames = b""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        if request.scope["path"].rstrip("/").endswith("/frames.json"):
            self._frames = self._frames or msgspec.json.encode(frames_schema())
            return self._frames
        self._document = self._document or msgspec.json.encode(completed(openapi_schema, self._routes))
        return self._document


def completed(document: dict[str, Any], routes: tuple[Route, ...]) -> dict[str, Any]:
    routes = tuple(route for route in routes if route.media == JSON)
    kinds = [kind for route in routes for kind in (route.body, route.answer, route.query) if kind is not None]
    schemas, components = msgspec.json.schema_components(
        [*kinds, ErrorBody], ref_template="#/components/schemas/{name}"
    )
    named = dict(zip(map(id, [*kinds, ErrorBody]), schemas, strict=True))
    for route in routes:
        path = re.sub(r"\{(\w+):\w+\}", r"{\1}", route.path)
        _complete(document["paths"][path][route.method.lower()], route, named)
    for kind in {route.body for route in routes if route.body is not None}:
        _with_nulls(components[kind.__name__])
    document.setdefault("components", {})["schemas"] = components
    document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    return document


def _with_nulls(body: dict[str, Any]) -> None:
    """In a request `null` is the same as leaving a field out."""
    required = body.get("required", ())
    for name, schema in body["properties"].items():
        if name not in required:
            default = {"default": schema.pop("default")} if "default" in schema else {}
            body["properties"][name] = {"anyOf": [schema, {"type": "null"}], **default}


def _complete(operation: dict[str, Any], route: Route, named: dict[int, Any]) -> None:
    answer = {JSON.value: {"schema": named[id(route.answer)]}}
    refusal = {JSON.value: {"schema": named[id(ErrorBody)]}}
    again = {"200": {"description": "done before", "content": answer}} if route.repeats else {}
    operation["responses"] = {
        str(route.status): {"description": "done", "content": answer},
        **again,
        "default": {"description": "refused, or not possible now", "content": refusal},
    }
    if route.body is not None:
        operation["requestBody"] = {
            "content": {JSON.value: {"schema": named[id(route.body)]}},
            "required": any(field.required for field in msgspec.structs.fields(route.body)),
        }
    for parameter in operation.get("parameters", ()):
        parameter["schema"] = {"type": "string", "minLength": 1}  # of the path; Litestar calls them URIs
    if route.query is not None:
        fields = msgspec.json.schema(route.query)["$defs"][route.query.__name__]["properties"]
        given = [{"name": name, "in": "query", "schema": schema} for name, schema in fields.items()]
        operation.setdefault("parameters", []).extend(given)
    if route.roles:
        anyone: list[dict[str, list[str]]] = [{}] if route.open_before else []
        operation["security"] = [{"token": []}, *anyone]
        operation["description"] = f"Roles: {', '.join(sorted(route.roles))}."
