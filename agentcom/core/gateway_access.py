"""Who a browser is, and what rates are in force: the requests that the gateway answers from what it knows of callers.

May import: agentcom.protocol, agentcom.core.
"""

from collections.abc import Callable, Mapping
from typing import Any

from agentcom.core.asked import Asked
from agentcom.core.decision import Now, Output
from agentcom.core.decoding import decode_body
from agentcom.core.directory_tokens import csrf_of
from agentcom.core.gateway_state import Rows, State, authenticate, failed_login
from agentcom.core.messages import Administer, Fault
from agentcom.core.rates import Rate
from agentcom.protocol.bodies import Login
from agentcom.protocol.tokens import token_hash
from agentcom.protocol.views import LimitsView, LoggedIn


def _login(state: State, asked: Asked, now: Now, rows: Rows) -> list[Output]:
    msg = asked.msg
    body = decode_body(Login, msg.body)
    if isinstance(body, Fault):
        return asked.refuse(body)
    who = authenticate(state, body.token, rows, now)
    if who is None:
        client = state.limits.of_address(msg.peer, direct=not msg.forwarded)
        return asked.refuse(
            failed_login(state, client, Fault("invalid_token", "unknown or revoked token"), now)
        )
    if who.role == "agent" or who.parent:
        return asked.refuse(
            Fault("forbidden", "log in with the token of an operator or administrator", "token")
        )
    args = {"token_hash": token_hash(body.token), "login_ms": str(int(state.rules.login_s * 1000))}
    return [_to_directory(asked, "login", args, by=who.subject, role=who.role)]


def _logout(_state: State, asked: Asked, _now: Now, _rows: Rows) -> list[Output]:
    args = {"token_hash": token_hash(asked.msg.token)}
    return [_to_directory(asked, "logout", args, by=asked.subject, role=asked.role)]


def _to_directory(asked: Asked, verb: str, args: dict[str, str], *, by: str, role: str) -> Output:
    msg = asked.msg
    ask = Administer(
        reply_to=msg.reply_to, request=msg.request, verb=verb, by=by, role=role, args=args, peer=msg.peer
    )
    return Output("directory", ask)


def _who(_state: State, asked: Asked, _now: Now, _rows: Rows) -> list[Output]:
    who, msg = asked.who, asked.msg
    assert who is not None
    csrf = csrf_of(msg.token) if msg.csrf is not None else ""
    return asked.reply(
        LoggedIn(subject=who.subject, role=who.role, csrf=csrf, expires_at=who.expires_ms or None)
    )


def _limits(state: State, asked: Asked, now: Now, _rows: Rows) -> list[Output]:
    """From memory: what is in force, which a row that cannot be read would not be."""
    limits = state.limits
    view = LimitsView(
        enabled=limits.rules.enabled,
        defaults={kind: _shown(rates) for kind, rates in limits.rates.items()},
        overrides={who: _shown(o.rates) for who, o in sorted(limits.overrides.items()) if o.rates},
        whitelist=sorted(who for who, o in limits.overrides.items() if o.exempt),
        refused=limits.refused(now.mono),
    )
    return asked.reply(view)


def _shown(rates: Mapping[Any, Rate]) -> dict[str, dict[str, float]]:
    return {
        tier: {"capacity": rate.burst, "refill_rate_per_min": rate.per_min} for tier, rate in rates.items()
    }


ACCESS: dict[str, Callable[[State, Asked, Now, Rows], list[Output]]] = {
    "limits": _limits,
    "login": _login,
    "logout": _logout,
    "who": _who,
}
