"""The embedded model's rates, measured on held-out puzzles that the demo does not use.

Knows the file with the measurements. Does not know how they were made (`evaluate`) or the network.
"""

from __future__ import annotations

import json
from functools import lru_cache
from importlib.resources import files
from typing import Any

from critic_loop.demo.shares import Counts

DEMO_SEED = 1
DEMO_PUZZLES = 500
"""The number of puzzles of each level in `make demo-full`; no rate is measured on these puzzles."""


@lru_cache(maxsize=1)
def measured() -> dict[str, Any]:
    """Returns `weights/rates.json`: the results of `evaluate.measure` for the bundled weights, by level."""
    return json.loads((files("critic_loop.demo") / "weights" / "rates.json").read_text(encoding="utf-8"))


def revision_rates(level: str) -> dict[str, Counts]:
    """Returns the rates `p`, `a`, `g`, `f` and `b` of `shares.after_one_revision`."""
    revision = measured()["levels"][level]["revision"]
    return {name: (revision[name]["hits"], revision[name]["of"]) for name in "pagfb"}
