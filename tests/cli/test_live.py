"""What a run looks like while it runs: bounded, safe to show, and in step with the tree."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console, RenderableType

from critic_loop.cli.job_view import JobView
from tests.cli.conftest import Cli, Serve, reviewed, spec

HOSTILE = "\x1b[2J[bold red]x[/bold red]\x07 \u202eevil\nsecond line"


def drawn(renderable: RenderableType, width: int = 80) -> list[str]:
    file = StringIO()
    Console(file=file, width=width, highlight=False, color_system=None).print(renderable)
    return file.getvalue().splitlines()


class Clock:
    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


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
        view.ended(row(n, reused=n == 0), f"task {n} {HOSTILE}", "accepted")
    next(tasks)
    view.ended(row(9, "abstain", error="out of order"), "task 9", "not judged")
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
    for said in (
        "→ actor/solver",
        "→ critic/stepwise",
        "1 of 20 calls",
        "✓ attempt 2  accepted  ★ chosen",
        "verdict",
    ):
        assert said in text
    assert server.requests[0].body["stream"] is True


def test_run_and_show_have_the_same_words(cli: Cli, serve: Serve) -> None:
    ran = cli("run", "What is 6 * 7?", "--actor", spec(serve(reviewed)), "--store", "one.db")
    shown = cli("show", "one.db")
    assert (ran.code, shown.code) == (0, 0)

    def named(text: str, names: tuple[str, ...]) -> dict[str, str]:
        rows = [line.split(maxsplit=1) for line in text.splitlines()]
        return {row[0]: row[1].strip() for row in rows if len(row) == 2 and row[0] in names}

    names = ("verdict", "stopped", "spent")
    assert named(ran.err, names) == named(shown.out, names)
    assert named(ran.err, names)["verdict"] == "accepted, score 1.00 (decided by critic)"

    def standing(text: str) -> list[list[str]]:
        """Return sign, name and worth of each attempt."""
        return re.findall(r"^ *(\S) (attempt \d+)  (\w+)", text, re.MULTILINE)

    assert standing(ran.err) == standing(shown.out)
    assert standing(ran.err) == [("✗", "attempt 1", "rejected"), ("✓", "attempt 2", "accepted")]
    assert all("attempt 2  accepted" in text and "★ chosen" in text for text in (ran.err, shown.out))
    assert "answer: abstain;" not in ran.err.replace("answer: abstain\n", "")


def test_a_run_of_many_counts_in_the_words_of_show(cli: Cli, serve: Serve, tmp_path: Path) -> None:
    lines = ['{"prompt": "What is 6 * 7?", "reference": "7"}', '{"prompt": "What is 6*7?"}']
    (tmp_path / "tasks.jsonl").write_text("\n".join(lines), encoding="utf-8")
    ran = cli("run", "--file", "tasks.jsonl", "--actor", spec(serve(reviewed)), "--store", "two.db")
    header, numbers, stopped = ran.out.splitlines()
    assert header.split()[:3] == ["tasks", "wrong", "accepted"], "one is known to be wrong"
    assert numbers.split()[:3] == ["2", "1", "1"]
    assert stopped.startswith("stopped  ")
    ids = [tree["id"] for tree in cli("show", "two.db", "--json").json["trees"]]
    shown = [re.search(r"^verdict +(\w+)", cli("show", "two.db", i).out, re.MULTILINE) for i in ids]
    assert sorted(found[1] for found in shown if found) == ["accepted", "wrong"]
