"""Lanes run free of each other: a slow attempt holds up nobody."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from statistics import median
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


def script(name: str) -> ModuleType:
    """Load a script of benchmarks/, which is no package."""
    spec = importlib.util.spec_from_file_location(f"benchmarks_{name}", ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


lanes = script("lanes")


def test_the_ideal_gives_each_call_to_the_lane_that_is_free_first() -> None:
    assert lanes.ideal([3.0, 1.0, 1.0, 1.0], 2) == 3.0
    assert lanes.ideal([1.0, 1.0, 3.0], 2) == 4.0


@pytest.mark.parametrize("search", list(lanes.SETTINGS))
def test_eight_lanes_are_nearly_as_fast_as_list_scheduling(search: str) -> None:
    shares = [lanes.share(search, seed, 8, 128) for seed in range(3)]
    assert round(min(shares), 9) >= 1.0
    assert median(shares) <= 1.1
