"""A tree as it is drawn while it grows: bounded, safe to show, and in step with the tree."""

from __future__ import annotations

import re
from io import StringIO

import pytest
from rich.console import Console, RenderableType

from critic_loop.core.protocols import Delta
from critic_loop.core.records import Ask, Attempt, Call, Outcome, Place, Reply, Usage, Verdict
from critic_loop.render.live import TreeView, view_of
from tests.conftest import Grown
from tests.work import lines_run

HOSTILE = "\x1b[2J[bold red]x[/bold red]\x07 \u202eevil\nsecond line"


def drawn(renderable: RenderableType, width: int = 80) -> list[str]:
    file = StringIO()
    Console(file=file, width=width, highlight=False, color_system=None).print(renderable)
    return file.getvalue().splitlines()


def call(number: int, attempt: str, agent: str = "actor/solver", binding: str = "chat:m@http://gpu") -> Call:
    return Call(
        id=f"t.c{number}", place=Place(subject=(attempt,), agent=agent), digest="", request=(), binding=binding,
        sent_at=0.0,
    )  # fmt: skip


class Clock:
    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


def test_a_tree_as_it_grows() -> None:
    clock = Clock()
    view = TreeView("refine  t", 20, now=clock)
    view.observe(Ask(attempt="t.1"))
    view.observe(call(1, "t.1"))
    clock.time += 2.5
    view.observe(Delta("t.c1", "The answer is "))
    view.observe(Delta("t.c1", "forty"))
    assert drawn(view.draw(20, 80)) == [
        "refine  t  1 attempt, 1 of 20 calls, 0 tokens, 2 s",
        "○ attempt 1  in flight",
        "     → actor/solver, 2.5 s  The answer is forty",
    ]
    view.observe(Reply(call="t.c1", status="ok", usage=Usage(input_tokens=10, output_tokens=5), ended_at=0.0))
    view.observe(Attempt(id="t.1", answer="41"))
    grown = Grown()
    grown.attempt(answer="41")
    grown.verified("t.1", "abstain", reason="no reference")
    grown.verified("t.1", "abstain", author="tests", reason="no file", parse="error")
    grown.say("t.1", verdict=Verdict.FAIL, score=0.25, text="Off by one.", author="critic/stepwise")
    for feedback in grown.tree.feedback.values():
        view.observe(feedback)
    view.observe(Ask(attempt="t.2", parents=("t.1",)))
    view.observe(call(2, "t.2", binding="chat:other@http://gpu"))
    assert drawn(view.draw(20, 120), 120) == [
        "refine  t  2 attempts, 2 of 20 calls, 15 tokens, 2 s",
        (
            "✗ attempt 1  rejected  critic/stepwise: fail 0.25 (Off by one.); answer: abstain; "
            "tests: abstain (no file)"
        ),
        "     41",
        "  ○ attempt 2  in flight",
        "       → actor/solver, 0.0 s  chat:other@http://gpu",
    ]
    assert view.news().splitlines() == [
        "attempt 1: made: 41",
        "attempt 1: answer: abstain",
        "attempt 1: tests: abstain (no file)",
        "attempt 1: critic/stepwise: fail 0.25 (Off by one.)",
    ]
    assert view.news() == ""
    view.ending = True
    assert "1 call in flight may finish. Ctrl-C again leaves at once." in drawn(view.draw(20, 80))[0]


@pytest.mark.parametrize("width", [20, 80, 140])
def test_what_others_wrote_cannot_touch_the_terminal(width: int) -> None:
    grown = Grown(tree="t")
    grown.attempt(answer=HOSTILE)
    grown.say("t.1", verdict=Verdict.FAIL, text=HOSTILE, author=HOSTILE)
    view = view_of("t", grown.tree.log)
    view.observe(Ask(attempt="t.2", parents=("t.1",)))
    view.observe(call(1, "t.2", agent=HOSTILE, binding=HOSTILE))
    view.observe(Delta("t.c1", HOSTILE * 40))
    view.observe(Delta("t.c1", "中文" * 100))
    lines = drawn(view.draw(20, width), width) + drawn(view.final(grown.tree), width) + [view.news()]
    text = "\n".join(lines)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202e]", text)
    assert width == 20 or "[bold red]x[/bold red]" in text, "markup is text"
    assert len(drawn(view.draw(20, width), width)) == 5


def test_arguments_and_evidence_on_pairs_judge_no_attempt() -> None:
    grown = Grown(tree="t")
    grown.attempt(answer="a")
    grown.attempt(answer="b")
    grown.say("t.1", "t.2", author="debater/advocate", text="It is mine.")
    grown.say("t.2", "t.1", author="debater/advocate", verdict="abstain", reason="dead", parse="error")
    grown.say("t.1", "t.2", source="verifier", author="pair", verdict="pass")
    grown.say("t.1", "t.2", source="judge", author="judge/debate", verdict="abstain", reason="dead")
    assert drawn(view_of("t", grown.tree.log).final(grown.tree)) == [
        "• attempt 1  not judged",
        "     debater/advocate against 2 (It is mine.)",
        "     pair with 2",
        "     judge/debate against 2: abstain",
        "     a",
        "• attempt 2  not judged  debater/advocate against 1: abstain (dead)",
        "     b",
    ]


def test_judges_failures_and_people() -> None:
    grown = Grown(tree="t")
    grown.attempt(answer="a")
    grown.attempt("t.1", answer="b")
    grown.say("t.2", "t.1", source="judge", author="judge/pairwise", preference=(0.8, 0.2))
    grown.settle(grown.ask("t.2"), None, status="failed", error="it\nbroke", error_code="model")
    grown.settle(grown.ask("t.2"), "c", status="parked")
    grown.verified("t.1", "pass", score=1.0)
    grown.tree.append(Outcome(chosen="t.1"))
    assert drawn(view_of("t", grown.tree.log).final(grown.tree)) == [
        "✓ attempt 1  right  ★ chosen  answer: pass 1.00",
        "     a",
        "  • attempt 2  not judged  judge/pairwise against 1: 0.80",
        "       b",
        "    ! attempt 3  failed  it broke",
        "    ? attempt 4  parked  c",
    ]


def test_in_the_end_each_word_has_a_line_where_several_spoke() -> None:
    grown = Grown(tree="t")
    for answer in ("a", "b"):
        grown.attempt(answer=answer)
    long = "the first of two long remarks, which alone would fill a line of a terminal"
    grown.verified("t.1", "fail", text=long)
    grown.verified("t.1", "abstain", author="style")
    grown.verified("t.1", "pass", author="house")
    grown.verified("t.2", "fail")
    grown.verified("t.2", "abstain", author="style")
    view = view_of("t", grown.tree.log)
    assert drawn(view.final(grown.tree)) == [
        "✗ attempt 1  wrong",
        "     answer: fail (the first of two long remarks, which alone would fill a line…",
        "     house: pass",
        "     style: abstain",
        "     a",
        "✗ attempt 2  wrong  answer: fail; style: abstain",
        "     b",
    ]
    assert drawn(view.draw(20, 80))[1].startswith("✗ attempt 1  wrong  answer: fail (the first"), (
        "one while it grows"
    )
    for number in range(3, 40):
        grown.attempt(answer="c")
        for author in ("answer", "house"):
            grown.verified(f"t.{number}", "pass", author=author)
    grown.tree.append(Outcome(chosen="t.39"))
    lines = drawn(view_of("t", grown.tree.log).final(grown.tree))
    assert len(lines) <= 60
    assert "✓ attempt 39  right  ★ chosen" in lines, "the chosen one is not cut off"
    assert "more attempts are not drawn" in lines[0]


def large(shape: str, size: int) -> TreeView:
    """A tree of so many attempts, and a call in flight for one more."""
    view = TreeView("t")
    for n in range(1, size + 1):
        parent = {"chain": n - 1, "star": 1, "random": n * 7919 % n}[shape]
        parents = (f"t.{parent}",) if parent and n > 1 else ()
        view.observe(Ask(attempt=f"t.{n}", parents=parents))
        view.observe(Attempt(id=f"t.{n}", parents=parents, answer=f"answer {n}"))
    view.observe(Ask(attempt=f"t.{size + 1}", parents=("t.17",)))
    view.observe(call(1, f"t.{size + 1}"))
    return view


@pytest.mark.parametrize("shape", ["chain", "star", "random"])
def test_ten_thousand_attempts_cost_no_more_than_a_screen(shape: str) -> None:
    small, view = large(shape, 1_000), large(shape, 10_000)
    few, many = (lines_run(view.draw, 24, 80) for view in (small, view))
    assert many < 1.2 * few, "a drawing does not grow with the tree"
    lines = drawn(view.draw(24, 80))
    assert len(lines) <= 24
    text = "\n".join(lines)
    for said in ("more attempts are not drawn", "10001  in flight", "10000  not judged", "→ actor/solver"):
        assert said in text
    assert len(drawn(view.final(Grown(tree="t").tree))) <= 60
    assert "... and 9,996 more" in view.news()
