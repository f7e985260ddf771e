"""What a run looks like while it runs: bounded, safe to show, and in step with the tree."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console, RenderableType

from critic_loop.cli.job_view import JobView
from critic_loop.cli.tree_view import TreeView, view_of
from critic_loop.core.protocols import Delta
from critic_loop.core.records import Ask, Attempt, Call, Outcome, Place, Reply, Usage, Verdict
from tests.cli.conftest import Serve, reviewed, spec
from tests.conftest import Grown

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
        "○ 1  open",
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
        "✗ 1  rejected  critic/stepwise: fail 0.25 (Off by one.); answer: abstains; tests: abstains (no file)",
        "     41",
        "  ○ 2  open",
        "       → actor/solver, 0.0 s  chat:other@http://gpu",
    ]
    assert view.news().splitlines() == [
        "attempt 1: made: 41",
        "attempt 1: answer: abstains",
        "attempt 1: tests: abstains (no file)",
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
    lines = drawn(view.draw(20, width), width) + drawn(view.final(), width) + [view.news()]
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
    assert drawn(view_of("t", grown.tree.log).final()) == [
        "• 1  not judged",
        "     debater/advocate against 2 (It is mine.)",
        "     pair with 2",
        "     judge/debate against 2: abstains",
        "     a",
        "• 2  not judged  debater/advocate against 1: abstains (dead)",
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
    assert drawn(view_of("t", grown.tree.log).final()) == [
        "✓ 1  right  chosen  answer: pass 1.00",
        "     a",
        "  • 2  not judged  judge/pairwise against 1: 0.80",
        "       b",
        "    ! 3  failed  it broke",
        "    ? 4  waits for a person  c",
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
    assert drawn(view.final()) == [
        "✗ 1  wrong",
        "     answer: fail (the first of two long remarks, which alone would fill a line…",
        "     house: pass",
        "     style: abstains",
        "     a",
        "✗ 2  wrong  answer: fail; style: abstains",
        "     b",
    ]
    assert drawn(view.draw(20, 80))[1].startswith("✗ 1  wrong  answer: fail (the first"), "one while it grows"
    for number in range(3, 40):
        grown.attempt(answer="c")
        for author in ("answer", "house"):
            grown.verified(f"t.{number}", "pass", author=author)
    grown.tree.append(Outcome(chosen="t.39"))
    lines = drawn(view_of("t", grown.tree.log).final())
    assert len(lines) <= 60
    assert "✓ 39  right  chosen" in lines, "the chosen one is not cut off"
    assert "more attempts are not drawn" in lines[0]


@pytest.mark.parametrize("shape", ["chain", "star", "random"])
def test_ten_thousand_attempts_cost_no_more_than_a_screen(shape: str) -> None:
    view = TreeView("t")
    for n in range(1, 10_001):
        parent = {"chain": n - 1, "star": 1, "random": n * 7919 % n}[shape]
        parents = (f"t.{parent}",) if parent and n > 1 else ()
        view.observe(Ask(attempt=f"t.{n}", parents=parents))
        view.observe(Attempt(id=f"t.{n}", parents=parents, answer=f"answer {n}"))
    view.observe(Ask(attempt="t.10001", parents=("t.17",)))
    view.observe(call(1, "t.10001"))
    began = time.perf_counter()
    for _ in range(20):
        lines = drawn(view.draw(24, 80))
    assert (time.perf_counter() - began) / 20 < 0.1, "a drawing does not grow with the tree"
    assert len(lines) <= 24
    text = "\n".join(lines)
    for said in ("more attempts are not drawn", "10001  open", "10000  not judged", "→ actor/solver"):
        assert said in text
    assert len(drawn(view.final())) <= 60
    assert "... and 9,996 more" in view.news()


def row(number: int, verdict: str = "pass", **fields: Any) -> dict[str, Any]:
    return {
        "answer": f"answer {number}", "verdict": verdict, "calls": 4, "input_tokens": 100, "output_tokens": 20,
        "cost_usd": None, "reused": False, "error": "", **fields,
    }  # fmt: skip


def test_many_tasks_on_their_way() -> None:
    clock = Clock()
    view = JobView("refine", 40, 20, lambda: {"actor": 3, "critic": 1, "judge": 0}, now=clock)
    tasks = view.begins(range(40))
    for n in range(9):
        next(tasks)
        clock.time += 2
        view.ended(row(n, reused=n == 0), f"task {n} {HOSTILE}")
    next(tasks)
    view.ended(row(9, "abstain", error="out of order"), "task 9")
    lines = drawn(view.draw(20, 100), 100)
    assert lines[0].startswith("refine")
    assert "10 of 40  0.5 a second, 60 s left" in lines[0]
    assert lines[1] == "accepted 9, no answer 1, 1 from earlier runs"
    assert lines[2] == "0 in flight (calls: actor 3, critic 1), 18 s"
    assert lines[3] == "the others took 36 of 180 calls, 1,080 tokens"
    assert lines[-1].split() == ["no", "answer", "task", "9", "out", "of", "order"]
    assert len(lines) == 12
    assert len(drawn(view.draw(5, 100), 100)) == 5
    assert view.news() == "10 of 40 done: accepted 9, no answer 1, 1 from earlier runs; 0.5 a second, 60 s left"
    assert view.news() == ""
    view.ending = True
    assert list(tasks) == [], "nothing is begun any more"
    assert "no task is begun" in "\n".join(drawn(view.draw(20, 100), 100))
    for width in (100, 60, 40, 20):
        for lines in (20, 8, 3):
            assert len(drawn(view.draw(lines, width), width)) == min(lines, 13), (lines, width)
    assert "Ending. Ctrl-C again leaves at once." in drawn(view.draw(20, 40), 40)
    assert "10 of 40" in drawn(view.draw(20, 40), 40)[0]


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminal")
def test_in_a_terminal(serve: Serve, tmp_path: Path) -> None:
    server = serve(reviewed, delay_s=0.4)
    command = [sys.executable, "-m", "critic_loop", "run", "What is 6 * 7?", "--actor", spec(server)]
    environment = os.environ | {
        "PYTHONPATH": str(Path(__file__).parents[2]), "TERM": "xterm", "COLUMNS": "100", "LINES": "30",
    }  # fmt: skip
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=theirs, stdin=subprocess.DEVNULL
    ) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # Linux's way to say that the other side has closed
                break
            if not piece:
                break
            shown += piece
        assert process.stdout is not None
        out = process.stdout.read()
    os.close(ours)
    assert process.returncode == 0
    assert out == b"answer 42\n", "nothing but the answer"
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    for said in ("→ actor/solver", "→ critic/stepwise", "1 of 20 calls", "✓ 2  accepted  chosen", "verdict"):
        assert said in text
    assert server.requests[0].body["stream"] is True
