"""The hub's settings: defaults < TOML file < `AGENTCOM_*` environment < `--set key=value`.

One frozen struct, read once at start; nothing else reads the environment. Unknown keys stop the start.
Keys are written dotted (`lease.accept_s`); in the environment `AGENTCOM_LEASE__ACCEPT_S`.
May import: msgspec.
"""

import ipaddress
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

Seconds = Annotated[float, Meta(gt=0, le=31_536_000)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Rate = Annotated[float, Meta(gt=0, le=1e9)]
Factor = Annotated[float, Meta(gt=0, le=1e6)]
Bytes = Annotated[int, Meta(ge=1_024)]

#: Read by the command-line programs, not settings of the hub.
CLIENT_VARIABLES = frozenset(
    {"AGENTCOM_HUB", "AGENTCOM_TOKEN", "AGENTCOM_CA_FILE", "AGENTCOM_CONFIG", "AGENTCOM_SIDECAR_HOME"}
)


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of every part of the settings."""


class Hub(Section, frozen=True, kw_only=True):
    data: str = "agentcom-data"  #: folder of the store, the admin token and the lock
    host: str = "127.0.0.1"  #: address to listen on
    port: Annotated[int, Meta(ge=0, le=65_535)] = 4000  #: 0 takes any free port
    login_s: Seconds = 43_200.0  #: how long a browser's login lasts
    allowed_origins: str = ""  #: of pages on other hosts whose scripts may open `/ws`, comma-separated
    #: a small parent restarts a hub that ended abnormally; `auto`: unless systemd does
    keeper: Literal["auto", "on", "off"] = "auto"


class Tls(Section, frozen=True, kw_only=True):
    cert: str = ""  #: file of the certificate and its chain (PEM); with it the hub speaks https and wss only
    key: str = ""  #: file of its key (PEM); empty: it is in the same file


class Log(Section, frozen=True, kw_only=True):
    level: Literal["debug", "info", "warning", "error"] = "info"  #: events below it are not written
    format: Literal["json", "console"] = "json"  #: one object a line, or coloured text for people


class Limits(Section, frozen=True, kw_only=True):
    enabled: bool = True  #: rate limits; bad frames and failed logins are limited even without
    light_per_min: Rate = 6_000.0  #: reads, heartbeats, and every frame's decoding; of one agent
    light_burst: Count = 2_000  #: at once
    normal_per_min: Rate = 6_000.0  #: reports and what changes one thing
    normal_burst: Count = 2_000  #: at once
    heavy_per_min: Rate = 1_200.0  #: submits, logins and what administrators do
    heavy_burst: Count = 200  #: at once
    operator_factor: Factor = 200.0  #: operators and administrators may so many times what an agent may
    #: and an address of which no token is known; this machine counts as an operator
    address_factor: Factor = 0.1
    max_frame_bytes: Bytes = 1 << 20  #: of one frame or HTTP body
    max_outbox_bytes: Bytes = 8 << 20  #: a session with more unsent bytes is closed with 4503
    max_waiting_requests: Count = 10_000  #: HTTP requests in work; over it callers get `overloaded`
    max_waiting_per_client: Count = 1_000  #: as above, of one token, or of one address without one
    #: open WebSockets; over it new ones get `overloaded`; fewer if fewer files may be open
    max_sessions: Count = 20_000
    #: open connections that are no WebSocket; more while there are fewer sessions than may be
    max_http_connections: Count = 2_048
    #: bad frames, bad bodies or failed logins within the window before 4400 or 429, and a cool-down
    max_bad_frames: Count = 10
    bad_window_s: Seconds = 60.0  #: the window, which slides


class Lease(Section, frozen=True, kw_only=True):
    accept_s: Seconds = 60.0  #: from assignment to `task_accept`
    work_s: Seconds = 120.0  #: from the last news of a held task
    grace_s: Seconds = 60.0  #: after a disconnect
    heartbeat_s: Seconds = 15.0  #: told to clients
    reconnect_jitter_s: Seconds = 5.0  #: told to clients; added to the grace after a restart
    #: of one assignment to a client of protocol 1, which says nothing of its work
    max_runtime_s: Seconds = 14_400.0
    stop_s: Seconds = 60.0  #: a stopping agent that still lists the task then is unresponsive


class Tasks(Section, frozen=True, kw_only=True):
    #: failures until the dead letter; a task may say otherwise
    max_attempts: Annotated[int, Meta(ge=1, le=100)] = 3
    #: losses until the dead letter; a task may say otherwise
    max_losses: Annotated[int, Meta(ge=1, le=100)] = 3
    backoff_base_s: Seconds = 5.0  #: pause after the first failure; doubles with each, with jitter
    backoff_cap_s: Seconds = 600.0  #: the longest pause
    exclude_base_s: Seconds = 60.0  #: after an agent's reject; doubles with each reject of the task
    exclude_cap_s: Seconds = 3_600.0  #: the longest exclusion
    max_queued: Annotated[int, Meta(ge=1)] = 20_000_000  #: per lane; over it submits get `overloaded`


class Scheduler(Section, frozen=True, kw_only=True):
    #: every n-th assignment of an agent goes to the longest overdue
    ageing_share: Annotated[int, Meta(ge=2, le=1_000)] = 10
    ageing_urgent_s: Seconds = 10.0  #: a task of this lane that waits longer is overdue
    ageing_high_s: Seconds = 60.0  #: as above
    ageing_normal_s: Seconds = 300.0  #: as above
    ageing_low_s: Seconds = 900.0  #: as above
    window: Annotated[int, Meta(ge=4, le=10_000)] = 64  #: keys a lane keeps in memory per signature
    max_signatures: Annotated[int, Meta(ge=16)] = 10_000  #: signatures a lane keeps in memory
    breaker_timeouts: Count = 3  #: accept time-outs and rejects in a row before an agent rests
    breaker_rest_s: Seconds = 60.0  #: how long it rests


class Blocked(Section, frozen=True, kw_only=True):
    alert_s: Seconds = 900.0  #: a question that waits so long is an alert; thresholds set at run time win
    max_s: Seconds = 86_400.0  #: a question without an answer fails the task


class Store(Section, frozen=True, kw_only=True):
    #: `interval` is faster, and a power cut may lose the last second of acknowledged work
    sync: Literal["always", "interval"] = "always"
    max_queue: Count = 50_000  #: commits waiting; over it callers get `overloaded`
    #: of the store's file, at least 64 MiB; 0 is as large as the disk. The last 32 MiB take no new work
    max_bytes: Annotated[int, Meta(ge=0)] = 0
    #: a file of this size is given up when the disk is full, so that it can be tidied; 0 is none
    ballast_bytes: Annotated[int, Meta(ge=0)] = 64 << 20

    def __post_init__(self) -> None:
        if 0 < self.max_bytes < 64 << 20:
            raise ValueError(f"expected store.max_bytes to be 0 or at least 67108864, got: {self.max_bytes}")


class Snapshots(Section, frozen=True, kw_only=True):
    dir: str = ""  #: best on another disk; empty: `snapshots` in the data folder
    every_s: Seconds = 3_600.0  #: since the last one, also across restarts
    first_s: Seconds = 60.0  #: the first one of a store, after the start
    hourly: Count = 24  #: of that many hours the last one of each is kept
    daily: Count = 14  #: and of that many days


class Archive(Section, frozen=True, kw_only=True):
    dir: str = ""  #: best on another disk; empty: `archive` in the data folder
    every_s: Annotated[float, Meta(gt=0, le=60)] = 1.0  #: how often the journal is shipped
    segment_bytes: Bytes = 16 << 20  #: a segment that is larger is followed by a new one
    alert_s: Seconds = 60.0  #: an oldest unshipped entry of this age is an alert


class Retention(Section, frozen=True, kw_only=True):
    #: completed and cancelled tasks, with their history, results and pull records
    finished_s: Seconds = 2_592_000.0
    dead_letter_s: Seconds = 7_776_000.0  #: tasks in the dead letter
    idempotency_s: Seconds = 604_800.0  #: keys of submits; never before their task
    mailbox_s: Seconds = 604_800.0  #: unread mail
    messages_s: Seconds = 2_592_000.0  #: what was said, with its threads and indexes
    audit_s: Seconds = 31_536_000.0  #: records of what administrators did
    journal_s: Seconds = 3_600.0  #: entries, once they are archived and a snapshot has them


class Compaction(Section, frozen=True, kw_only=True):
    every_s: Seconds = 60.0  #: how often the retention is looked at
    #: rows or tasks of one commit, so that it holds nobody up
    slice: Annotated[int, Meta(ge=1, le=10_000)] = 100
    #: of the file's pages; from it on the file is rewritten
    free_share: Annotated[float, Meta(gt=0, lt=1)] = 0.5
    free_bytes: Bytes = 256 << 20  #: and only when so much can be given back


class Mailbox(Section, frozen=True, kw_only=True):
    #: unacknowledged messages of one agent; beyond it the oldest are dropped, with an alert
    max: Annotated[int, Meta(ge=1, le=100_000)] = 1_000
    ahead: Annotated[int, Meta(ge=1, le=10_000)] = 256  #: messages a session is sent beyond its last ack
    ahead_bytes: Bytes = 1 << 20  #: and their bytes; one message may be larger


class Channels(Section, frozen=True, kw_only=True):
    history: Annotated[int, Meta(ge=1, le=100_000)] = 200  #: posts kept in the history of one channel
    max: Count = 10_000  #: channels; over it no more can be made


class Alerts(Section, frozen=True, kw_only=True):
    check_s: Seconds = 30.0  #: how often the alert rules are looked at; their thresholds are set at run time


class Compat(Section, frozen=True, kw_only=True):
    v1: bool = True  #: agents' tokens may read whole lists, as old clients expect


class Runtime(Section, frozen=True, kw_only=True):
    strict: bool = False  #: every message is pickled on its way (tests)
    warn_s: Seconds = 1.0  #: the loop blocked this long: the stack is logged
    hang_s: Seconds = 60.0  #: the loop blocked this long: the process ends


class Chaos(Section, frozen=True, kw_only=True):
    enabled: bool = False  #: actors can be crashed and the loop blocked over HTTP, for tests


class Config(Section, frozen=True, kw_only=True):
    hub: Hub = Hub()
    tls: Tls = Tls()
    log: Log = Log()
    limits: Limits = Limits()
    lease: Lease = Lease()
    tasks: Tasks = Tasks()
    scheduler: Scheduler = Scheduler()
    blocked: Blocked = Blocked()
    store: Store = Store()
    snapshots: Snapshots = Snapshots()
    archive: Archive = Archive()
    retention: Retention = Retention()
    compaction: Compaction = Compaction()
    mailbox: Mailbox = Mailbox()
    channels: Channels = Channels()
    alerts: Alerts = Alerts()
    compat: Compat = Compat()
    runtime: Runtime = Runtime()
    chaos: Chaos = Chaos()
    #: with a join code; also from this machine; anyone
    registration: Literal["invite", "loopback", "open"] = "loopback"
    #: addresses or networks, comma-separated, whose X-Forwarded-For and -Proto are believed
    trusted_proxies: str = ""


class BadConfig(Exception):
    """A setting is unknown, of the wrong type or out of range, or the file cannot be read."""


def folder_of(configured: str, data: Path, name: str) -> Path:
    """Absolute: where the settings have it, else `name` in the data folder."""
    return Path(configured or data / name).absolute()


def load(file: Path | None = None, env: Mapping[str, str] | None = None, sets: Iterable[str] = ()) -> Config:
    """The settings in force. Raises `BadConfig` with a sentence that names the key."""
    tree: dict[str, Any] = {}
    if file is not None:
        _merge(tree, _read(file))
    for name, value in sorted((env or {}).items()):
        if name.startswith("AGENTCOM_") and name not in CLIENT_VARIABLES:
            _put(
                tree,
                name.removeprefix("AGENTCOM_").lower().replace("__", "."),
                value,
                f"environment variable {name}",
            )
    for item in sets:
        key, eq, value = item.partition("=")
        if not eq:
            raise BadConfig(f"expected --set key=value, got: {item}")
        _put(tree, key.strip(), value, f"--set {key.strip()}")
    return _checked(tree)


def _checked(tree: dict[str, Any]) -> Config:
    try:
        made = msgspec.convert(tree, Config, strict=False)
        for part in made.trusted_proxies.split(","):
            if part.strip():
                ipaddress.ip_network(part.strip(), strict=False)
    except msgspec.ValidationError as exc:
        raise BadConfig(f"bad setting: {_sentence(str(exc))}") from exc
    except ValueError as exc:
        raise BadConfig(f"bad setting: trusted_proxies: {exc}") from exc
    return made


def _sentence(message: str) -> str:
    return message.replace("`$.", "`").replace("Object contains unknown field", "there is no key")


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as exc:
        raise BadConfig(f"cannot read the configuration file {file}: {exc}") from exc
    except (ValueError, RecursionError) as exc:  # also a number of more digits than Python reads
        raise BadConfig(f"{file} is not valid TOML: {exc}") from exc


def _merge(tree: dict[str, Any], more: Mapping[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(tree.get(key), dict):
            _merge(tree[key], value)
        else:
            tree[key] = value


def _put(tree: dict[str, Any], dotted: str, value: str, origin: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError as exc:
        raise BadConfig(f"{origin}: the value is not UTF-8 text") from exc
    *path, last = dotted.split(".")
    for part in path:
        tree = tree.setdefault(part, {})
        if not isinstance(tree, dict):
            raise BadConfig(f"{origin}: {part} is a value, not a section")
    tree[last] = value
