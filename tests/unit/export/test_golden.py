"""Rows as they were agreed on; with CRITIC_LOOP_GOLDEN=write in the environment, they are written anew."""

import json
import os
from pathlib import Path

import pytest

from critic_loop.core.protocols import ToolSpec
from critic_loop.export import CritiqueSft, Preference, Row, Sft
from critic_loop.testing.trees import ALL

GOLDEN = Path(__file__).parents[2] / "golden" / "export"
SHELL = ToolSpec(name="shell", description="Runs a command.")
HELP = ToolSpec(name="ask_human", description="Asks a person.")

EXPORTERS = {
    "sft": Sft(),
    "sft_all": Sft(
        only="all", columns="prompt_completion", kinds=("answer", "action"), sampled=False, tools=(SHELL, HELP)
    ),
    "preference": Preference(),
    "critique_sft": CritiqueSft(),
}


@pytest.mark.parametrize("name", EXPORTERS)
def test_rows_are_as_agreed(name):
    rows = [
        row.columns for row in EXPORTERS[name].rows(make() for make in ALL.values()) if isinstance(row, Row)
    ]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path = GOLDEN / f"{name}.jsonl"
    if os.environ.get("CRITIC_LOOP_GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text
