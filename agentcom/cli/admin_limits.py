"""The commands of `agentcom-admin` about rate limits, and about who did what.

May import: click, agentcom.cli, agentcom.client.
"""

from typing import Any

import click

from agentcom.cli import look, times
from agentcom.cli.connect import Link, on_hub
from agentcom.cli.inputs import Finite
from agentcom.client_http import path_part

ROUTE = "/api/admin/rate-limits"


@click.group("limits")
def limits_group() -> None:
    """How often each may ask: defaults, rates of single subjects, exemptions."""


@limits_group.command("show")
@on_hub
def show_command(link: Link) -> None:
    """Show the rates in force, and who is refused just now."""
    answer = link.call(lambda hub: hub.call("GET", ROUTE))
    if link.as_json:
        return link.show(answer)
    made = look.table("who", "tier", "at once", "a minute")
    for who, rates in [*_named(answer["defaults"], "any {}"), *_named(answer["overrides"], "{}")]:
        for tier, rate in rates.items():
            made.add_row(who, tier, f"{rate['capacity']:,.0f}", f"{rate['refill_rate_per_min']:,.0f}")
    for who in answer["whitelist"]:
        made.add_row(who, "all", "exempt", "")
    console = look.console()
    console.print(made)
    if not answer["enabled"]:
        console.print("rate limits are off: `limits.enabled` is false")
    for one in answer["refused"]:
        console.print(f"refused now: {one['kind']} {one['name']}: {_waits(one)}")
    return None


def _named(rates: dict[str, Any], form: str) -> list[tuple[str, Any]]:
    return [(form.format(who), tiers) for who, tiers in rates.items()]


def _waits(one: dict[str, Any]) -> str:
    waits = [f"{tier} for {wait / 1000:g} s" for tier, wait in one["retry_after_ms"].items()]
    if one["cool_down_ms"]:
        waits.append(f"cool-down for {one['cool_down_ms'] / 1000:g} s")
    return ", ".join(waits)


@limits_group.command("set")
@click.argument("subject")
@click.option("--tier", type=click.Choice(["light", "normal", "heavy"]), required=True)
@click.option("--per-minute", type=Finite(min=0, min_open=True), required=True, help="In the long run.")
@click.option("--burst", type=click.IntRange(1, 1_000_000), required=True, help="At once.")
@on_hub
def set_command(link: Link, subject: str, tier: str, per_minute: float, burst: int) -> None:
    """Give one agent or operator a rate of its own. It holds at once, and after a restart."""
    body = {tier: {"capacity": burst, "refill_rate_per_min": per_minute}}
    answer = link.call(lambda hub: hub.call("PUT", _path(subject), body))
    link.done(answer, f"{subject} may ask {burst:,} {tier} requests at once, {per_minute:,.0f} a minute")


@limits_group.command("reset")
@click.argument("subject")
@on_hub
def reset_command(link: Link, subject: str) -> None:
    """Give it the default rates again."""
    answer = link.call(lambda hub: hub.call("DELETE", _path(subject)))
    link.done(answer, f"{subject} has the default rates")


@limits_group.command("exempt")
@click.argument("subject")
@on_hub
def exempt_command(link: Link, subject: str) -> None:
    """Let it ask as often as it likes."""
    answer = link.call(lambda hub: hub.call("POST", f"{ROUTE}/whitelist", {"agent_id": subject}))
    link.done(answer, f"{subject} is exempt from rate limits")


@limits_group.command("unexempt")
@click.argument("subject")
@on_hub
def unexempt_command(link: Link, subject: str) -> None:
    """Limit it again."""
    answer = link.call(lambda hub: hub.call("DELETE", f"{ROUTE}/whitelist/{path_part(subject)}"))
    link.done(answer, f"{subject} is limited again")


def _path(subject: str) -> str:
    return f"{ROUTE}/{path_part(subject)}"


@click.command("audit")
@click.option("--limit", type=click.IntRange(1, 1_000), default=50, show_default=True)
@click.option("--cursor", default="", help="Where the last page ended.")
@on_hub
def audit_command(link: Link, limit: int, cursor: str) -> None:
    """Show what administrators and operators did, newest first."""
    answer = link.call(lambda hub: hub.call("GET", "/api/audit", limit=limit, cursor=cursor or None))
    if link.as_json:
        return link.show(answer)
    made = look.table("when", "who", "role", "what", "about", "from")
    for line in answer["records"]:
        who = line["by"] or "(nobody known)"
        made.add_row(times.clock(line["ms"]), who, line["role"], line["act"], line["target"], line["peer"])
    console = look.console()
    console.print(made)
    if answer.get("next_cursor"):
        console.print(f"more: --cursor {answer['next_cursor']}")
    return None


COMMANDS = (limits_group, audit_command)
