"""How a token is known to the hub, which keeps none: by its SHA-256.

A token has 256 random bits, so that a slow hash would protect nothing.
May import: standard library.
"""

import hashlib


def token_hash(secret: str) -> str:
    """64 hexadecimal digits."""
    return hashlib.sha256(secret.encode()).hexdigest()
