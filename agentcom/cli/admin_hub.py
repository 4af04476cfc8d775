"""The commands of `agentcom-admin` about the hub itself: tree, agents, repositories, invites, tokens.

May import: click, agentcom.{cli, client, protocol}.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import click

from agentcom.cli import exits, look, look_hub, look_tree, times
from agentcom.cli.admin_tasks import now_ms
from agentcom.cli.connect import Link, on_hub
from agentcom.cli.inputs import converted
from agentcom.client import Hub
from agentcom.client_http import path_part
from agentcom.protocol import errors
from agentcom.protocol.bodies import NewRepo

Json = dict[str, Any]


async def _nodes(hub: Hub) -> list[Json]:
    answer = await hub.actors()
    return list(answer["actors"] if isinstance(answer, dict) else answer)


@click.command("tree")
@click.option(
    "--all", "everything", is_flag=True, help="All children of a supervisor, not only the first 12."
)
@on_hub
def tree_command(link: Link, everything: bool) -> None:
    """Show the supervision tree: what runs, for how long, and what crashed."""
    nodes = link.call(_nodes)
    if link.as_json:
        return link.show({"actors": nodes})
    console = look.console()
    return console.print(look_tree.tree_view(nodes, width=console.width, everything=everything))


@click.command("inspect")
@click.argument("name")
@on_hub
def inspect_command(link: Link, name: str) -> None:
    """Show one actor in full: its restart budget, why it last ended, its last crash."""
    node = link.call(lambda hub: hub.actor(name))
    if link.as_json:
        return link.show(node)
    return look.console().print(look_tree.node_view(node))


@click.command("restart")
@click.argument("name")
@on_hub
def restart_command(link: Link, name: str) -> None:
    """Restart one actor, also one in quarantine."""
    answer = link.call(lambda hub: hub.call("POST", f"/api/actors/{path_part(name)}/restart"))
    link.done(answer, f"{name} is restarting")


@click.command("crash")
@click.argument("name")
@on_hub
def crash_command(link: Link, name: str) -> None:
    """Crash one actor on purpose, to see it come back. Only on a hub with `chaos.enabled`."""
    answer = link.call(lambda hub: _crash(hub, name))
    link.done(answer, f"{name} is crashing")


async def _crash(hub: Hub, name: str) -> Any:
    await hub.actor(name)  # a wrong name is told as such, whatever the hub allows
    try:
        return await hub.call("POST", f"/api/actors/{path_part(name)}/crash")
    except errors.Refused as exc:
        if exc.code != "not_found":
            raise
        sentence = "this hub lets nobody crash its actors: it runs without `chaos.enabled`"
        raise errors.Refused("forbidden", sentence) from exc


@click.command("agents")
@on_hub
def agents_command(link: Link) -> None:
    """List the agents and what they do."""
    answer = link.call(lambda hub: hub.agents())
    if link.as_json:
        return link.show(answer)
    agents = answer["agents"]
    return look.console().print(
        look_hub.agents_table(agents, now_ms()) if agents else "no agent is known yet"
    )


@click.group("repo")
def repo_group() -> None:
    """The repositories that tasks may name."""


@repo_group.command("list")
@on_hub
def repo_list_command(link: Link) -> None:
    """List them; the default is bold."""
    answer = link.call(lambda hub: hub.repos())
    if link.as_json:
        return link.show(answer)
    return look.console().print(
        look_hub.repos_table(answer["repos"]) if answer["repos"] else "no repository is known yet"
    )


@repo_group.command("add")
@click.argument("name")
@click.argument("url")
@click.option("--base-branch", default="main", show_default=True)
@click.option("--forge", type=click.Choice(["local", "github"]), default="local", show_default=True)
@click.option("--default", "is_default", is_flag=True, help="Tasks that name none get this one.")
@click.option("--paused", is_flag=True, help="Its tasks wait.")
@on_hub
def repo_add_command(link: Link, name: str, url: str, is_default: bool, **fields: Any) -> None:
    """Add a repository, or change it. URL is what `git clone` takes; a folder is made absolute."""
    local = "://" not in url and ":" not in url.split("/")[0]
    where = str(Path(url).resolve()) if local else url
    repo = converted({"name": name, "url": where, **fields}, NewRepo)
    answer = link.call(lambda hub: _put_repo(hub, repo, is_default))
    link.done(answer, f"{name} is {where}" + (", the default" if is_default else ""))


async def _put_repo(hub: Hub, repo: NewRepo, is_default: bool) -> Json:
    answer = await hub.put_repo(repo)
    if is_default:
        await hub.set_default_repo(repo.name)
    return answer


@click.command("pulls")
@click.option("--task", "task_id", help="Of this task only.")
@on_hub
def pulls_command(link: Link, task_id: str | None) -> None:
    """List pull request records."""
    answer = link.call(lambda hub: hub.pulls(task_id=task_id))
    if link.as_json:
        return link.show(answer)
    return look.console().print(
        look_hub.pulls_table(answer["pulls"]) if answer["pulls"] else "no pull request yet"
    )


@click.command("invite")
@click.option(
    "--capability", "capabilities", multiple=True, help="What the agent will be able to do; repeatable."
)
@click.option("--expires", type=times.Span(), default="24h", show_default=True, help="Void after this long.")
@on_hub
def invite_command(link: Link, capabilities: tuple[str, ...], expires: int) -> None:
    """Make a join code for one agent. It is shown this once."""
    body = {"capabilities": list(capabilities), "expires_s": expires}
    answer = link.call(lambda hub: hub.call("POST", "/api/invites", body))
    link.done(answer, str(answer["invite"]))


@click.group("token")
def token_group() -> None:
    """Who may speak to the hub."""


@token_group.command("list")
@on_hub
def token_list_command(link: Link) -> None:
    """List tokens, without their secrets."""
    answer = link.call(lambda hub: hub.call("GET", "/api/tokens"))
    if link.as_json:
        return link.show(answer)
    made = look.table("token", "subject", "role", "state")
    for token in answer["tokens"]:
        made.add_row(token["token_id"], token["subject"], token["role"], _state_of(token))
    return look.console().print(made)


def _state_of(token: Json) -> str:
    if token["revoked_at"]:
        return "revoked"
    login = "login, " if token.get("login") else ""
    expires = token.get("expires_at")
    if not expires:
        return "valid"
    return f"{login}expired" if expires <= now_ms() else f"{login}valid until {times.clock(expires)}"


@token_group.command("create")
@click.argument("subject")
@click.option(
    "--role", type=click.Choice(["agent", "operator", "admin"]), default="operator", show_default=True
)
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="File for it (0600)."
)
@click.option(
    "--expires", type=times.Span(), help="After this long it is void, as 12h or 90d. Default: never."
)
@on_hub
def token_create_command(link: Link, subject: str, role: str, out: Path, expires: int | None) -> None:
    """Make a token and keep it in a file that only you can read."""
    body = {"subject": subject, "role": role, "expires_s": expires or 0}
    with _new_secret_file(out) as file:
        answer = link.call(lambda hub: hub.call("POST", "/api/tokens", body))
        file.write(answer.pop("token") + "\n")
    link.done(answer, f"the token of {subject} ({role}) is in {out}")


@contextlib.contextmanager
def _new_secret_file(path: Path) -> Iterator[IO[str]]:
    """Made before the token is, so that an unwritable folder costs no secret; gone if it stays empty."""
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as exc:
        raise exits.Failed(f"cannot write {path}: {exc.strerror}", exits.USAGE) from exc
    try:
        with os.fdopen(number, "w", encoding="ascii") as file:
            yield file
    except BaseException:
        path.unlink()
        raise


@token_group.command("rotate")
@click.argument("token_id")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="File for the new one (0600).",
)
@click.option(
    "--keep", type=times.Span(), help="The old one stays good for so long, as 10m. Default: not at all."
)
@on_hub
def token_rotate_command(link: Link, token_id: str, out: Path, keep: int | None) -> None:
    """Replace a token's secret: same subject, role and expiry."""
    path = f"/api/tokens/{path_part(token_id)}/rotate"
    with _new_secret_file(out) as file:
        answer = link.call(lambda hub: hub.call("POST", path, {"keep_s": keep or 0}))
        file.write(answer.pop("token") + "\n")
    old = f"the old one ends in {keep} s" if keep else "the old one and its sessions are ended"
    link.done(answer, f"the new token of {answer['subject']} is in {out}; {old}")


@token_group.command("revoke")
@click.argument("token_id")
@on_hub
def token_revoke_command(link: Link, token_id: str) -> None:
    """Revoke a token; its live sessions close at once."""
    answer = link.call(lambda hub: hub.call("DELETE", f"/api/tokens/{path_part(token_id)}"))
    link.done(answer, f"{token_id} is revoked")


COMMANDS = (
    tree_command, inspect_command, restart_command, crash_command, agents_command, repo_group, pulls_command,
    invite_command, token_group,
)  # fmt: skip
