"""The environment that git, Minds and checks get.

May import: the standard library.
"""

from collections.abc import Mapping

_KEPT_GIT = ("GIT_SSH", "GIT_CONFIG_", "GIT_TRACE", "GIT_SSL", "GIT_ASKPASS")


def clean_env(env: Mapping[str, str]) -> dict[str, str]:
    """Ours without the hub's tokens and without what would aim git at another repository or identity."""
    return {
        name: value
        for name, value in env.items()
        if not name.startswith("AGENTCOM_") and (not name.startswith("GIT_") or name.startswith(_KEPT_GIT))
    }


def git_env(env: Mapping[str, str]) -> dict[str, str]:
    """For git itself: it never asks a person, and speaks English."""
    ours = {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    return {"GIT_SSH_COMMAND": "ssh -oBatchMode=yes", **clean_env(env), **ours}
