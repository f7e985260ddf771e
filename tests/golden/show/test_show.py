"""What a person sees of a tree, at two widths, to be read by people.

`UPDATE_GOLDEN=1 pytest tests/golden/show` writes the files anew; read the diff before you keep it.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from critic_loop.core.tree import Tree
from critic_loop.render.outline import outline
from critic_loop.render.text import page
from critic_loop.testing.trees import ALL
from tests.planted import by_hand

HERE = Path(__file__).parent
SHOWN: dict[str, Callable[[], Tree]] = {
    **{
        name: ALL[name]
        for name in ("refine", "chinese", "image", "pairwise", "multi-critique", "gate", "parked")
    },
    **{
        name: by_hand.PLANTED[name]
        for name in ("broken-one-branch", "broken-by-a-remark", "never-tools-shadow")
    },
}


def printed(tree: Tree, width: int) -> str:
    file = io.StringIO()
    Console(file=file, width=width, highlight=False).print(page(outline(tree)))
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"


@pytest.mark.parametrize("width", [80, 140])
@pytest.mark.parametrize("name", SHOWN)
def test_trees_look_as_they_were_read(name: str, width: int) -> None:
    golden = HERE / f"{name}.{width}.txt"
    text = printed(SHOWN[name](), width)
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text, "utf-8")
    assert text == golden.read_text("utf-8")
