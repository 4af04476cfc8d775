"""How `Hub` sends its requests: one token, refusals as exceptions, and again what may be sent again.

May import: httpx, msgspec, agentcom.protocol, agentcom.{answers, backoff, endpoint}.
"""

import asyncio
import random
import time
from collections.abc import Mapping
from typing import Any, Self, cast
from urllib.parse import quote

import httpx
import msgspec

from agentcom.answers import raise_for
from agentcom.backoff import delay_s
from agentcom.endpoint import is_local, tls_of
from agentcom.protocol import errors

Json = dict[str, Any]
Params = Mapping[str, str | int | None]


class HubHttp:
    """Mixed into `Hub`: its connections."""

    def __init__(
        self,
        url: str,
        token: str = "",
        *,
        retry_s: float = 30.0,
        timeout_s: float = 30.0,
        ca_file: str = "",
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self.token = token
        self.ca_file = ca_file
        self.retry_s = retry_s
        self._rng = random.Random()  # noqa: S311  # jitter, not a secret
        self._http = httpx.AsyncClient(
            base_url=self.url,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=timeout_s,
            transport=transport,
            verify=tls_of(url, ca_file) or True,
            trust_env=not is_local(url),  # a proxy cannot reach our own loopback
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections; a call after it raises `RuntimeError`."""
        await self._http.aclose()

    async def call(self, method: str, path: str, body: Any = None, **params: str | int | None) -> Any:
        """Any other route: its JSON, decoded, or `None` if it answers nothing. Sent once: it may not be repeatable."""
        answer = await self._once(method, path, body, params)
        return msgspec.json.decode(answer.content) if answer.content else None

    # --- sending -----------------------------------------------------------------------------------

    async def _json(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        params: Params | None = None,
    ) -> Json:
        answer = await self._again(method, path, body, params)
        return cast(Json, msgspec.json.decode(answer.content)) if answer.content else {}

    async def _again(
        self, method: str, path: str, body: Any = None, params: Params | None = None
    ) -> httpx.Response:
        """Send until it is answered for good, or `retry_s` is over."""
        deadline = time.monotonic() + self.retry_s
        attempt = 0
        while True:
            try:
                return await self._once(method, path, body, params)
            except errors.Unavailable as exc:
                attempt += 1
                pause_s = delay_s(
                    attempt, self._rng, base_s=0.05, cap_s=2.0, at_least_s=exc.retry_after_ms / 1000
                )
                if time.monotonic() + pause_s > deadline:
                    raise
                await asyncio.sleep(pause_s)

    async def _once(
        self,
        method: str,
        path: str,
        body: Any,
        params: Params | None,
        *,
        timeout_s: float | None = None,
    ) -> httpx.Response:
        content = None if body is None else msgspec.json.encode(body)
        headers = {} if body is None else {"Content-Type": "application/json"}
        query = {k: v for k, v in (params or {}).items() if v is not None}
        try:
            answer = await self._http.request(
                method,
                path,
                content=content,
                headers=headers,
                params=query,
                timeout=httpx.USE_CLIENT_DEFAULT if timeout_s is None else timeout_s,
            )
        except httpx.HTTPError as exc:
            said = f"{method} {path}: no answer from {self.url} ({type(exc).__name__} {exc})"
            raise errors.Unavailable("unavailable", said) from exc
        if answer.status_code >= 400:
            raise_for(answer.status_code, answer.content)
        return answer


def path_part(text: str) -> str:
    """A name as one part of a path: none leads to another route, also not a step up by dots."""
    quoted = quote(text, safe="")
    return quoted.replace(".", "%2E") if set(text) == {"."} else quoted
