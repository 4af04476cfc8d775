"""What the gateway remembers: open sessions, known tokens, and the submits it collects answers for.

None of it is on disk: a restarted gateway starts empty, the edge has closed all sockets and answered all requests.
May import: agentcom.protocol, agentcom.core.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from agentcom.core.decision import Now, Output
from agentcom.core.encoding import Shared
from agentcom.core.limits import LimitRules, Limits, Standing, over
from agentcom.core.messages import Condition, ConnOpened, Fault, Reply
from agentcom.core.v1_translating import Talk
from agentcom.protocol.ops import Key
from agentcom.protocol.rows import LANES, Token
from agentcom.protocol.tokens import token_hash

LANE_NAMES: dict[str, str] = {lane: f"lane.{lane}" for lane in LANES}
NEEDED_TO_SERVE: tuple[str, ...] = (*LANE_NAMES.values(), "agents", "directory")
SHELL = "shell"
"""An output to this name is for the actor around this core: a `Read` to answer."""

MAX_KNOWN_TOKENS = 50_000


class Rules(NamedTuple):
    """The settings that the gateway decides by."""

    max_frame_bytes: int = 1 << 20
    heartbeat_s: float = 15.0
    compat_v1: bool = True
    limits: LimitRules = LimitRules()
    proxied: bool = False  #: `trusted_proxies` is set: nobody is taken for local
    login_s: float = 43_200.0
    mailbox_ttl_ms: int = 604_800_000
    blocked_alert_ms: int = 900_000


class Rows(Protocol):
    """Committed rows."""

    def get(self, table: str, key: Key) -> Any: ...

    def scan(
        self,
        table: str,
        prefix: Key = (),
        *,
        after: Key | None = None,
        limit: int = 500,
        reverse: bool = False,
    ) -> list[tuple[Key, Any]]: ...


class Session:
    """One WebSocket. `agent_id` is empty until its `hello` was accepted."""

    __slots__ = (
        "agent_id",
        "codec",
        "conn",
        "direct",
        "edge",
        "expires_ms",
        "last_s",
        "opened_s",
        "peer",
        "token",
        "token_hash",
        "v1",
        "wants",
        "watching",
        "welcomed",
    )

    def __init__(self, opened: ConnOpened, now_s: float) -> None:
        self.conn, self.edge, self.codec, self.token = opened.conn, opened.edge, opened.codec, opened.token
        self.peer, self.direct = opened.peer, not opened.forwarded
        self.agent_id, self.token_hash, self.expires_ms = "", "", 0
        self.last_s = self.opened_s = now_s
        self.welcomed = False
        self.wants = False  #: notices of presence
        self.watching = False  #: it was told who is here, so that changes mean something
        self.v1 = Talk() if opened.codec == "v1" else None  #: what is remembered of a session of protocol 1

    def close_code(self, code: int) -> int:
        """Protocol 1 knows none of protocol 2's own."""
        return 1008 if self.v1 is not None and code >= 4000 else code


class Collection:
    """One submit of several lanes (or of a session), waiting for the lanes' answers."""

    __slots__ = ("entries", "finish", "missing")

    def __init__(self, entries: list[Any], finish: Any) -> None:
        self.entries, self.finish, self.missing = entries, finish, 0


class Part(NamedTuple):
    """What one lane was asked for: which entries of a collection it answers."""

    collection: Collection
    lane: str
    places: tuple[int, ...]


class Question(NamedTuple):
    """What a name was asked for a session; `finish` makes outputs of the answer."""

    name: str
    finish: Callable[[Any], list[Output]]


class State:
    def __init__(self, rules: Rules, me: Any) -> None:
        self.rules = rules
        self.me = me  #: the gateway's own address, for answers it collects
        self.up: set[str] = set()
        self.sessions: dict[str, Session] = {}
        self.limits = Limits(rules.limits)
        self.tokens: dict[str, Token] = {}
        self.conditions: dict[str, Condition] = {}  #: what parts of the hub say of themselves, by name
        self.fired: dict[str, int] = {}  #: since when one of them has alerts, in milliseconds
        self.acknowledged: set[str] = set()  #: those that somebody looks after
        self.url_tokens = 0  #: requests whose token was in the URL
        self.parts: dict[int, Part] = {}
        self.questions: dict[int, Question] = {}
        self.shared = Shared()
        self.shared_v1: dict[str, bytes] = {}  #: the newest messages by id, as protocol 1 gets them
        self.default_repo: str | None = None  #: as last read; None: read it again
        self.last_request = 0
        self.last_tick_s = 0.0
        self.since_ms = 0  #: when the hub started
        self.draining = False

    def asked(self, name: str, finish: Callable[[Any], list[Output]]) -> int:
        """The number of a question to `name`, whose answer goes to `finish`."""
        number = self.next_request()
        self.questions[number] = Question(name, finish)
        return number

    def answered(self, request: int, body: Any) -> list[Output]:
        question = self.questions.pop(request, None)
        return question.finish(body) if question else []

    def next_request(self) -> int:
        self.last_request += 1
        return self.last_request


def authenticate(state: State, secret: str, rows: Rows, now: Now) -> Token | None:
    """Who speaks; None for an unknown, revoked or expired token. Only good tokens are remembered."""
    if not secret or len(secret) > 256:
        return None
    key = token_hash(secret)
    known = state.tokens.get(key)
    if known is not None:
        return known if known.is_live(now.ms) else None
    row: Token | None = rows.get("token", (key,))
    if row is None or not row.is_live(now.ms):
        return None
    if len(state.tokens) >= MAX_KNOWN_TOKENS:
        state.tokens.clear()
    state.tokens[key] = row
    return row


def failed_login(state: State, client: Standing, fault: Fault, now: Now) -> Fault:
    """What one is told whose token is wrong: that, or for how long its address is refused after too many of them.

    Only wrong tokens are refused: a right one always gets in, so that nobody can lock out who shares their address.
    """
    cool_down = client.conduct.wait(now.mono) or state.limits.violation(client, now.mono)
    return over(cool_down, "too many failed logins or bad frames from this address") if cool_down else fault


def standing_of(state: State, session: Session) -> Standing:
    """The agent's once it is known, until then its address's."""
    if session.agent_id:
        return state.limits.of_agent(session.agent_id)
    return state.limits.of_address(session.peer, direct=session.direct)


def default_repo(state: State, rows: Rows) -> str:
    """The repo of tasks that name none. Remembered until the directory says that repos changed."""
    if state.default_repo is None:
        state.default_repo = rows.get("config", ("default_repo",)) or ""
    return state.default_repo


def refuse(reply_to: Any, request: int, fault: Fault) -> list[Output]:
    return [Output(reply_to, Reply(request, fault))]
