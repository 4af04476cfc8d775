"""The frames of protocol 2 as one JSON Schema (2020-12), for clients in other languages.

Served at `/schema/frames.json` and kept in the reference. May import: msgspec, agentcom.protocol.frames.
"""

from typing import Any, get_args

import msgspec

from agentcom.protocol import frames

DIALECT = "https://json-schema.org/draft/2020-12/schema"
SIDES = {"from_client": frames.InboundFrame, "from_hub": frames.OutboundFrame}


def frames_schema() -> dict[str, Any]:
    """Any frame at the root; `$defs` has each frame by its Struct's name, and all frames of a side by `SIDES`."""
    kinds = {side: get_args(union) for side, union in SIDES.items()}
    everyone = [kind for side in kinds.values() for kind in side]
    _, defs = msgspec.json.schema_components(everyone, ref_template="#/$defs/{name}")
    sides = {side: {"anyOf": [_ref(kind.__name__) for kind in kinds[side]]} for side in kinds}
    return {
        "$schema": DIALECT,
        "title": "AgentCom, protocol 2",
        "description": "Unknown fields are ignored. A field with a default may be left out.",
        "anyOf": [_ref(side) for side in sides],
        "$defs": {**sides, **dict(sorted(defs.items()))},
    }


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/$defs/{name}"}
