"""The hub's own tree: what runs, in which order, and how many restarts each level may spend.

The one module here that knows the hub. Budgets multiply down the tree (one more than a lane's 10 inside `tasks`' 5
inside the root's 5 is 11 x 6 x 6 crashes), so each level is chosen for what its crash costs:

- a lane or the scheduler crashes alone and comes back in milliseconds: 10 in 30 s is a bug that does not go away,
  while a burst of one bad message redelivered by several clients stays below it;
- `tasks` is rest_for_one (the scheduler knows only what lanes told it): 5 in 60 s;
- an agent's or a channel's actor has a budget of its own, 5 in 60 s, then quarantine: one agent's data, not the hub,
  is at fault;
- the root starts everything after the crashed child anew, gateway included: 5 in 120 s. OTP's 1 in 5 s would end
  the hub on two unrelated crashes; far more would hide a hub that serves nobody.

What the world does (full disk, a refused write) is no crash and spends none of these.
"""

from pathlib import Path
from typing import Any

from actors.agent import AgentArgs
from actors.alerter import AlerterArgs
from actors.archive import ArchiveArgs
from actors.channel import ChannelArgs
from actors.compaction import CompactionArgs
from actors.directory import DirectoryArgs
from actors.gateway import GatewayArgs
from actors.lane import LaneArgs
from actors.scheduler import SchedulerArgs
from actors.snapshots import SnapshotArgs
from actors.store import StoreArgs
from actors.verifier import VerifierArgs
from agentcom.config import Config, folder_of
from agentcom.core.messages import Condition
from agentcom.core.policy import Policy
from agentcom.protocol.rows import LANES
from agentcom.rules import (
    channel_rules_of,
    gateway_rules_of,
    keep_of,
    mail_rules_of,
    policy_of,
    rewrite_rules_of,
    scheduler_rules_of,
)
from agentcom.starting import store_settings
from agentcom.store.manifests import release
from agentcom.store.snapshot_schedule import Rules
from agentcom.store.snapshotting import Order
from supervisors.specs import Backoff, ChildSpec, DynamicSpec, SupervisorSpec, dynamic, supervisor

BACKOFF = Backoff(base_s=0.05, cap_s=10.0)


def hub_tree(
    config: Config, folder: str, epoch: int = 1, recovered: Condition | None = None
) -> SupervisorSpec:
    """Start order is dependence: each part may count on those above it; a restart takes those below along.

    `epoch` is the store's; `recovered` is what `/health` shows of a recovery not long ago.
    """
    policy, mail = policy_of(config), mail_rules_of(config)
    directory = DirectoryArgs(folder, config.registration, mail)
    gateway = GatewayArgs(gateway_rules_of(config), folder, said=recovered)
    return SupervisorSpec(
        strategy="rest_for_one",
        intensity=5,
        period_s=120.0,
        backoff=BACKOFF,
        children=(
            worker("registry", "supervisors.registry:Registry", None),
            worker("store", "actors.store:StoreActor", _store(config, folder), shutdown=30.0),
            worker("directory", "actors.directory:DirectoryActor", directory),
            supervisor("tasks", _tasks(config, folder, policy)),
            dynamic("agents", _agents(AgentArgs(folder, policy, epoch, mail))),
            dynamic("channels", _channels(config, folder)),
            worker("gateway", "actors.gateway:GatewayActor", gateway),
            supervisor("maintenance", _maintenance(config, Path(folder))),
            supervisor("observability", _observability(config, folder)),
        ),
    )


def worker(name: str, actor: str, args: Any, *, shutdown: float = 5.0) -> ChildSpec:
    return ChildSpec(name=name, actor=actor, args=args, shutdown=shutdown)


def _store(config: Config, folder: str) -> StoreArgs:
    return StoreArgs(store_settings(config, folder), max_queue=config.store.max_queue)


def _tasks(config: Config, folder: str, policy: Policy) -> SupervisorSpec:
    lanes = tuple(
        worker(f"lane.{lane}", "actors.lane:LaneActor", LaneArgs(lane, folder, policy)) for lane in LANES
    )
    of_lanes = SupervisorSpec(
        strategy="one_for_one", intensity=10, period_s=30.0, backoff=BACKOFF, children=lanes
    )
    scheduler = worker(
        "scheduler", "actors.scheduler:SchedulerActor", SchedulerArgs(rules=scheduler_rules_of(config))
    )
    return SupervisorSpec(
        strategy="rest_for_one",
        intensity=5,
        period_s=60.0,
        backoff=BACKOFF,
        children=(supervisor("lanes", of_lanes), scheduler),
    )


def _agents(args: AgentArgs) -> DynamicSpec:
    template = worker("agent.", "actors.agent:AgentActor", args)
    return DynamicSpec(template=template, intensity=5, period_s=60.0, backoff=BACKOFF)


def _channels(config: Config, folder: str) -> DynamicSpec:
    args = ChannelArgs(folder, channel_rules_of(config))
    template = worker("channel.", "actors.channel:ChannelActor", args)
    return DynamicSpec(template=template, intensity=5, period_s=60.0, backoff=BACKOFF)


def _maintenance(config: Config, data: Path) -> SupervisorSpec:
    """It looks after the data while others serve: nobody's work depends on it."""
    archive = worker("archive", "actors.archive:ArchiveActor", _archive(config, data))
    snapshots = worker("snapshots", "actors.snapshots:SnapshotActor", _snapshots(config, data))
    compaction = worker("compaction", "actors.compaction:CompactionActor", _compaction(config, data))
    verifier = worker("verifier", "actors.verifier:VerifierActor", _verifier(config, data))
    return SupervisorSpec(
        strategy="one_for_one",
        intensity=10,
        period_s=60.0,
        backoff=BACKOFF,
        children=(snapshots, archive, compaction, verifier),
    )


def _archive(config: Config, data: Path) -> ArchiveArgs:
    """Only a folder elsewhere may be missing because its disk is."""
    of = config.archive
    return ArchiveArgs(
        str(data),
        str(folder_of(of.dir, data, "archive")),
        marker=str(data / "archive.begun") if of.dir else "",
        every_s=of.every_s,
        segment_bytes=of.segment_bytes,
        alert_s=of.alert_s,
    )


def _verifier(config: Config, data: Path) -> VerifierArgs:
    snapshots = folder_of(config.snapshots.dir, data, "snapshots")
    return VerifierArgs(str(data), str(snapshots), str(folder_of(config.archive.dir, data, "archive")))


def _snapshots(config: Config, data: Path) -> SnapshotArgs:
    """Only a folder elsewhere may be missing because its disk is."""
    of, archive = config.snapshots, config.archive
    order = Order(
        store="",
        into=str(folder_of(of.dir, data, "snapshots")),
        version=release(),
        hourly=of.hourly,
        daily=of.daily,
        archive=str(folder_of(archive.dir, data, "archive")),
        marker=str(data / "snapshots.begun") if of.dir else "",
    )
    return SnapshotArgs(str(data), Rules(of.every_s, of.first_s), order)


def _compaction(config: Config, data: Path) -> CompactionArgs:
    return CompactionArgs(
        str(data),
        keep_of(config),
        config.retention.journal_s,
        rewrite_rules_of(config),
        config.compaction.every_s,
        config.compaction.slice,
    )


def _observability(config: Config, folder: str) -> SupervisorSpec:
    presence = worker("presence", "actors.presence:PresenceActor", None)
    args = AlerterArgs(folder, config.alerts.check_s, config.blocked.alert_s)
    alerter = worker("alerter", "actors.alerter:AlerterActor", args)
    return SupervisorSpec(
        strategy="one_for_one", intensity=10, period_s=60.0, backoff=BACKOFF, children=(presence, alerter)
    )
