"""The commands of `agentcom-admin` about alerts: what needs somebody, who looks after it, from when on it is one.

May import: click, msgspec, rich, agentcom.{cli, client}.
"""

from typing import Any

import click
import msgspec
from rich.table import Table
from rich.text import Text

from agentcom.cli import exits, look, times
from agentcom.cli.connect import Link, on_hub
from agentcom.client import Hub
from agentcom.client_http import path_part

Json = dict[str, Any]
THRESHOLDS = "/api/config/alert-thresholds"
STYLES = {"critical": "bold red", "warning": "yellow"}


class Listing(click.Group):
    """A group that lists when no command is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


@click.group("alerts", cls=Listing)
def alerts_group() -> None:
    """What needs somebody now. Without a command: list it."""


@alerts_group.command("list")
@on_hub
def list_command(link: Link) -> None:
    """List what needs somebody now: rules that hold, and what parts of the hub say of themselves."""
    answer = link.call(lambda hub: hub.call("GET", "/api/alerts"))
    if link.as_json:
        return link.show(answer)
    found = answer["alerts"]
    return look.console().print(alerts_table(found) if found else "nothing needs anybody")


def alerts_table(alerts: list[Json]) -> Table:
    made = look.table("alert", "severity", "since", "acknowledged", "what", fold=("what",))
    for one in alerts:
        severity = Text(one["severity"], style=STYLES.get(one["severity"], "default"))
        seen = "yes" if one["acknowledged"] else ""
        made.add_row(Text(one["rule_id"]), severity, times.clock(one["fired_at"]), seen, Text(one["message"]))
    return made


@alerts_group.command("ack")
@click.argument("alert")
@on_hub
def ack_command(link: Link, alert: str) -> None:
    """Say that you look after ALERT: it is silent until it is over, and the next time it fires anew."""
    path = f"/api/alerts/{path_part(alert)}/acknowledge"
    answer = link.call(lambda hub: hub.call("POST", path))
    link.done(answer, f"{alert} is acknowledged")


@alerts_group.command("thresholds")
@click.option(
    "--set", "sets", multiple=True, metavar="RULE.FIELD=VALUE", help="One of them, as stuck_tasks.silent_ms=60000."
)  # fmt: skip
@on_hub
def thresholds_command(link: Link, sets: tuple[str, ...]) -> None:
    """Show what each rule is held to, or change it: from the next check on, also after a restart of the hub."""
    changes = [_change(item) for item in sets]
    answer = link.call(lambda hub: _thresholds(hub, changes))
    if link.as_json:
        return link.show(answer)
    return look.console().print(thresholds_table(answer))


def _change(item: str) -> tuple[str, str, Any]:
    """A rule, a field and a number. Which there are, and how large they may be, is the hub's to say."""
    key, eq, value = item.partition("=")
    rule, dot, field = key.strip().partition(".")
    try:
        if eq and dot and rule and field:
            return rule, field, msgspec.json.decode(value.strip(), type=int | float)
    except msgspec.DecodeError:
        pass
    raise exits.Failed(f"expected --set rule.field=number, got: {item}", exits.USAGE)


async def _thresholds(hub: Hub, changes: list[tuple[str, str, Any]]) -> Json:
    """Those in force then. The hub takes the whole map only: what is left out it sets back."""
    found: Json = await hub.call("GET", THRESHOLDS)
    if not changes:
        return found
    for rule, field, number in changes:
        found.setdefault(rule, {})[field] = number
    changed: Json = await hub.call("PUT", THRESHOLDS, found)
    return changed


def thresholds_table(thresholds: Json) -> Table:
    made = look.table("rule", "field", "value", right=("value",))
    for rule, fields in thresholds.items():
        for field, value in fields.items():
            made.add_row(rule, field, _shown(field, value))
    return made


def _shown(field: str, value: float) -> str:
    return f"{value:,} ({times.span(value)})" if field.endswith("_ms") and value else f"{value:,}"


COMMANDS = (alerts_group,)
