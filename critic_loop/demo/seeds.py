"""Seeds derived from names and numbers, so that they do not depend on the order of events."""

from __future__ import annotations

import hashlib


def seed_of(*parts: str | int) -> int:
    """Returns 64 bits that depend on every part and on their order."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big")
