"""A sidecar's settings: `sidecar.toml` in its home, mode 0600 because it holds the token.

May import: msgspec, agentcom.{endpoint, protocol}, sidecar.files.
"""

import json
import re
import tomllib
import uuid
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from agentcom.endpoint import check_url
from agentcom.protocol.frames import AgentId, Capabilities
from sidecar import files

Seconds = Annotated[float, Meta(gt=0)]
FILE = "sidecar.toml"
BRANCHABLE = re.compile(r"(?!.*\.\.)(?!.*\.lock$).*")
"""Of the names that `AgentId` allows, those that git takes as the first part of a branch's name."""


class BadSettings(Exception):
    """The file is not there, cannot be read, or a key of it is wrong."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    hub: Annotated[str, Meta(pattern="^https?://")]
    agent_id: AgentId
    token: str  #: empty from the moment `join` begins until the hub has given it
    #: what signed the hub's certificate (PEM), where this machine does not trust it by itself
    ca_file: str = ""
    instance: Annotated[str, Meta(min_length=1, max_length=64)] = msgspec.field(
        default_factory=lambda: uuid.uuid4().hex
    )
    capabilities: Capabilities = []
    mind: Annotated[list[str], Meta(min_length=1)]  #: the Mind's command, an argv list
    forge: Literal["local", "github"] = "local"
    git_name: str = ""  #: of commits; "" is the agent's id
    git_email: str = ""
    max_runtime_s: Seconds = 14_400.0
    check_s: Seconds = 1_800.0  #: for each check
    git_s: Seconds = 600.0  #: for each git command
    stop_grace_s: Seconds = 10.0  #: between TERM and KILL
    keep_runs: Annotated[int, Meta(ge=1)] = 100  #: folders of finished runs, with logs


def load(home: Path) -> Settings:
    path = home / FILE
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Settings)
    except FileNotFoundError as exc:
        raise BadSettings(f"there is no {path}; `agentcom-sidecar join` writes it") from exc
    except (OSError, ValueError) as exc:  # undecodable, not TOML, or a wrong key
        raise BadSettings(f"{path}: {exc}") from exc


def check(settings: Settings) -> None:
    """Raises `BadSettings` with the sentence that names the key."""
    try:
        msgspec.convert(msgspec.to_builtins(settings), Settings)
    except msgspec.ValidationError as exc:
        raise BadSettings(str(exc)) from exc
    for key, value in msgspec.to_builtins(settings).items():
        if not is_text(_toml(value)):
            raise BadSettings(f"{key} is not UTF-8 text: {value!r}")
    try:
        check_url(settings.hub)
    except ValueError as exc:
        raise BadSettings(f"hub: {exc}") from exc
    if not BRANCHABLE.fullmatch(settings.agent_id):
        raise BadSettings(
            f"agent_id {settings.agent_id} cannot begin a branch's name, which git demands of it: "
            "it has two dots in a row, or ends in .lock"
        )


def save(home: Path, settings: Settings) -> None:
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    lines = [f"{key} = {_toml(value)}" for key, value in msgspec.to_builtins(settings).items()]
    files.write(home / FILE, ("\n".join(lines) + "\n").encode(), 0o600)


def _toml(value: Any) -> str:
    """Strings, numbers and lists of strings: JSON writes them as TOML has them."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def is_text(text: str) -> bool:
    """Whether it has no bytes that the command line could only carry as they are."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
