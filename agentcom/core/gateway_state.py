"""What the gateway remembers: open sessions, known tokens, and the submits it collects answers for.

None of it is on disk: a restarted gateway starts empty, the edge has closed all sockets and answered all requests.
May import: agentcom.protocol, agentcom.core.
"""

import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from agentcom.core.decision import Output
from agentcom.core.decoding import Codec
from agentcom.core.encoding import Shared
from agentcom.core.messages import Condition, Fault, Reply
from agentcom.protocol.ops import Key
from agentcom.protocol.rows import LANES, Token

LANE_NAMES: dict[str, str] = {lane: f"lane.{lane}" for lane in LANES}
NEEDED_TO_SERVE: tuple[str, ...] = (*LANE_NAMES.values(), "agents", "directory")
SHELL = "shell"
"""An output to this name is for the actor around this core: a `Read` to answer."""

MAX_KNOWN_TOKENS = 50_000


class Now(NamedTuple):
    ms: int  #: wall clock
    s: float  #: monotonic


class Rules(NamedTuple):
    """The settings that the gateway decides by."""

    max_frame_bytes: int = 1 << 20
    max_bad_frames: int = 10
    heartbeat_s: float = 15.0
    compat_v1: bool = True


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
        "bad",
        "codec",
        "conn",
        "edge",
        "last_s",
        "opened_s",
        "token",
        "token_hash",
        "wants",
        "watching",
        "welcomed",
    )

    def __init__(self, conn: str, edge: Any, codec: Codec, token: str, now_s: float) -> None:
        self.conn, self.edge, self.codec, self.token = conn, edge, codec, token
        self.agent_id, self.token_hash = "", ""
        self.last_s = self.opened_s = now_s
        self.bad = 0
        self.welcomed = False
        self.wants = False  #: notices of presence
        self.watching = False  #: it was told who is here, so that changes mean something


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
        self.tokens: dict[str, Token] = {}
        self.conditions: dict[str, Condition] = {}  #: what parts of the hub say of themselves, by name
        self.parts: dict[int, Part] = {}
        self.questions: dict[int, Question] = {}
        self.shared = Shared()
        self.default_repo: str | None = None  #: as last read; None: read it again
        self.last_request = 0
        self.last_tick_s = 0.0
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


def token_hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def authenticate(state: State, secret: str, rows: Rows) -> Token | None:
    """Who speaks; None for an unknown or revoked token. Only good tokens are remembered."""
    if not secret or len(secret) > 256:
        return None
    key = token_hash(secret)
    known = state.tokens.get(key)
    if known is not None:
        return known
    row: Token | None = rows.get("token", (key,))
    if row is None or row.revoked_ms:
        return None
    if len(state.tokens) >= MAX_KNOWN_TOKENS:
        state.tokens.clear()
    state.tokens[key] = row
    return row


def default_repo(state: State, rows: Rows) -> str:
    """The repo of tasks that name none. Remembered until the directory says that repos changed."""
    if state.default_repo is None:
        state.default_repo = rows.get("config", ("default_repo",)) or ""
    return state.default_repo


def refuse(reply_to: Any, request: int, fault: Fault) -> list[Output]:
    return [Output(reply_to, Reply(request, fault))]
