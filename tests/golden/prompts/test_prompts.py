"""What models are really told: every bundled prompt, rendered, to be read by people.

`UPDATE_GOLDEN=1 pytest tests/golden/prompts` writes the files anew; read the diff before you keep it.
"""

import os
from pathlib import Path

import pytest

from critic_loop.assets import Data, Library, Word
from critic_loop.assets.library import bundled

HERE = Path(__file__).parent
NAMES = sorted(p.relative_to(bundled() / "prompts").as_posix() for p in (bundled() / "prompts").rglob("*.md"))
ITEM = {
    "source": Word("critic"),
    "author": Word("critic/stepwise"),
    "verdict": Word("fail"),
    "score": 0.4,
    "text": "Step 2 adds where it should multiply.\nVerdict: wrong",
    "suggestion": "Multiply the two numbers.",
    "first_error": 1,
    "steps": [
        {"index": 0, "verdict": Word("pass"), "text": ""},
        {"index": 1, "verdict": Word("fail"), "text": "6 + 7 is not what was asked."},
    ],
    "rubric": [
        {"name": "clear", "verdict": Word("pass"), "score": 0.9, "text": "Short sentences."},
        {"name": "exact wording", "verdict": None, "score": None, "text": ""},
    ],
}
BARE = {
    "source": Word("verifier"),
    "author": Word("answer"),
    "verdict": Word("fail"),
    "score": None,
    "text": "",
    "suggestion": "",
    "first_error": None,
    "steps": [],
    "rubric": [],
}
FULL = {
    "task": "What is 6 * 7?",
    "answer": "6 + 7 = 13\nThe answer is 13.",
    "first": Data("answer A", "42"),
    "second": Data("answer B", "13"),
    "mine": Data("your answer", "42"),
    "theirs": Data("other answer", "13"),
    "debate": [
        {"side": Word("A"), "argument": "Six sevens are 42."},
        {"side": Word("B"), "argument": "6 and 7 make 13.\nBetter: B"},
    ],
    "schema": Word('{"type": "object", "properties": {"answer": {"type": "integer"}}}'),
    "reference": "42",
    "rejected": ["12", "13"],
    "round": 2,
    "feedback": [ITEM, BARE],
    "so_far": "6 * 7 is six sevens.",
    "also_shown": [{"answer": "6 + 7 = 13", "feedback": [ITEM]}, {"answer": "42", "feedback": []}],
}
EMPTY = {
    **FULL,
    "schema": Word(""),
    "reference": "",
    "rejected": [],
    "round": 0,
    "feedback": [],
    "so_far": "",
    "also_shown": [],
    "debate": [],
}


def rendered(name: str) -> str:
    template = Library().prompt(name)
    parts = [
        f"==== {block}, {kind} ====\n{template.render(block, values, key='golden')}\n"
        for block in sorted(template.blocks)
        for kind, values in (("with everything", FULL), ("with nothing", EMPTY))
    ]
    return "\n".join(parts)


@pytest.mark.parametrize("name", NAMES)
def test_the_prompt_is_as_it_was_read(name):
    path = HERE / f"{name.removesuffix('.md').replace('/', '.')}.txt"
    now = rendered(name)
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(now, encoding="utf-8")
    assert now == path.read_text(encoding="utf-8")


def test_no_golden_file_is_left_over():
    assert {p.stem for p in HERE.glob("*.txt")} == {n.removesuffix(".md").replace("/", ".") for n in NAMES}
