"""The settings as the rules that each part of the core decides by.

May import: agentcom.{config, core}.
"""

from agentcom.config import Config
from agentcom.core import gateway_state, scheduler
from agentcom.core.channel import ChannelRules
from agentcom.core.compaction import RewriteRules
from agentcom.core.inbox import MailRules
from agentcom.core.limits import LimitRules
from agentcom.core.messages import Keep
from agentcom.core.policy import Policy
from agentcom.core.rates import Rate


def policy_of(config: Config) -> Policy:
    """The life cycle's numbers, from the settings."""
    lease, tasks, scheduler = config.lease, config.tasks, config.scheduler
    return Policy(
        accept_s=lease.accept_s,
        work_s=lease.work_s,
        grace_s=lease.grace_s,
        reconnect_jitter_s=lease.reconnect_jitter_s,
        heartbeat_s=lease.heartbeat_s,
        max_runtime_s=lease.max_runtime_s,
        stop_s=lease.stop_s,
        max_attempts=tasks.max_attempts,
        max_losses=tasks.max_losses,
        backoff_base_s=tasks.backoff_base_s,
        backoff_cap_s=tasks.backoff_cap_s,
        exclude_base_s=tasks.exclude_base_s,
        exclude_cap_s=tasks.exclude_cap_s,
        blocked_max_s=config.blocked.max_s,
        max_queued=tasks.max_queued,
        window=scheduler.window,
        max_signatures=scheduler.max_signatures,
        breaker_timeouts=scheduler.breaker_timeouts,
        breaker_rest_s=scheduler.breaker_rest_s,
    )


def scheduler_rules_of(config: Config) -> scheduler.Rules:
    of = config.scheduler
    limits_s = (of.ageing_urgent_s, of.ageing_high_s, of.ageing_normal_s, of.ageing_low_s)
    limits_us = tuple(int(limit_s * 1_000_000) for limit_s in limits_s)
    return scheduler.Rules(of.ageing_share, limits_us, of.max_signatures)


def gateway_rules_of(config: Config) -> gateway_state.Rules:
    return gateway_state.Rules(
        max_frame_bytes=config.limits.max_frame_bytes,
        heartbeat_s=config.lease.heartbeat_s,
        compat_v1=config.compat.v1,
        proxied=bool(config.trusted_proxies),
        login_s=config.hub.login_s,
        mailbox_ttl_ms=_ms(config.retention.mailbox_s),
        blocked_alert_ms=_ms(config.blocked.alert_s),
        limits=limit_rules_of(config),
    )


def limit_rules_of(config: Config) -> LimitRules:
    limits = config.limits
    return LimitRules(
        enabled=limits.enabled,
        light=Rate(limits.light_per_min, limits.light_burst),
        normal=Rate(limits.normal_per_min, limits.normal_burst),
        heavy=Rate(limits.heavy_per_min, limits.heavy_burst),
        operator_factor=limits.operator_factor,
        address_factor=limits.address_factor,
        max_bad=limits.max_bad_frames,
        bad_window_s=limits.bad_window_s,
    )


def mail_rules_of(config: Config) -> MailRules:
    mailbox = config.mailbox
    return MailRules(max_messages=mailbox.max, ahead=mailbox.ahead, ahead_bytes=mailbox.ahead_bytes)


def channel_rules_of(config: Config) -> ChannelRules:
    return ChannelRules(history=config.channels.history, max_channels=config.channels.max)


def keep_of(config: Config) -> Keep:
    """For how long; the journal's time is not among them."""
    kept = config.retention
    return Keep(
        finished_ms=_ms(kept.finished_s),
        dead_letter_ms=_ms(kept.dead_letter_s),
        idempotency_ms=_ms(kept.idempotency_s),
        audit_ms=_ms(kept.audit_s),
        messages_ms=_ms(kept.messages_s),
        mailbox_ms=_ms(kept.mailbox_s),
    )


def rewrite_rules_of(config: Config) -> RewriteRules:
    return RewriteRules(config.compaction.free_share, config.compaction.free_bytes)


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
