"""Seeds derived from a place, so that no order of events can change them.

Knows hashing only.
"""

from __future__ import annotations

import hashlib


def seed_of(*parts: str | int) -> int:
    """Returns 64 bits that depend on every part and on their order."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big")
