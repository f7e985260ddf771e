"""What is known of the embedded model's rates, measured once on held-out puzzles that the demo does not use.

Knows where the measurements lie. Does not know how they were made (`evaluate`) nor the network.
"""

from __future__ import annotations

import json
from functools import lru_cache
from importlib.resources import files
from typing import Any

from critic_loop.demo.shares import Counts

DEMO_SEED = 1
DEMO_PUZZLES = 500
"""The puzzles of `make demo-full`, of each level; no rate is measured on them."""


@lru_cache(maxsize=1)
def measured() -> dict[str, Any]:
    """Returns `weights/rates.json`: by level, what `evaluate.measure` found of the weights beside it."""
    return json.loads((files("critic_loop.demo") / "weights" / "rates.json").read_text(encoding="utf-8"))


def revision_rates(level: str) -> dict[str, Counts]:
    """Returns the rates `p`, `a`, `g`, `f` and `b` of `shares.after_one_revision`."""
    revision = measured()["levels"][level]["revision"]
    return {name: (revision[name]["hits"], revision[name]["of"]) for name in "pagfb"}
