"""A tree as a person reads it, before anything is drawn."""

from __future__ import annotations

import io
import re
from itertools import pairwise

import pytest
from rich.console import Console

from critic_loop.core.messages import File, Message, Opaque, Reasoning, ToolCall, ToolResult, assistant
from critic_loop.core.records import Verdict
from critic_loop.core.tree import Tree
from critic_loop.render.html import page as html_page
from critic_loop.render.outline import Gap, Node, outline
from critic_loop.render.text import page
from critic_loop.testing.trees import ALL
from tests.conftest import Grown
from tests.planted.by_hand import accepts, end, rejects, user_says
from tests.planted.test_planted import PLANTED
from tests.work import lines_run


def levels(g: Grown) -> list[tuple[str, int]]:
    return [(node.number, node.indent) for node in outline(g.tree).nodes]


def test_a_chain_stays_at_one_level() -> None:
    g = Grown()
    one = g.attempt(answer="1")
    two = g.attempt(one, answer="2")
    g.attempt(two, answer="3")
    assert levels(g) == [("1", 0), ("2", 0), ("3", 0)]


def test_what_follows_one_of_several_is_deeper() -> None:
    g = Grown()
    one, two = g.attempt(answer="1"), g.attempt(answer="2")
    three = g.attempt(one, answer="3")
    g.attempt(two, answer="4")
    five = g.attempt(three, answer="5")
    g.attempt(five, answer="6")
    g.attempt(five, answer="7")
    assert levels(g) == [("1", 0), ("3", 1), ("5", 1), ("6", 2), ("7", 2), ("2", 0), ("4", 1)]


def test_an_attempt_with_two_parents_comes_once() -> None:
    g = Grown()
    one, two = g.attempt(answer="1"), g.attempt(answer="2")
    both = g.attempt(one, two, answer="3")
    assert [n.id for n in outline(g.tree).nodes].count(both) == 1
    assert outline(g.tree).nodes[1].parents == (one, two)


def test_open_moves_are_in_it() -> None:
    g = Grown()
    g.ask()
    (node,) = outline(g.tree).nodes
    assert (node.status, node.answer, node.worth) == ("in flight", "", "not judged")


def grown_wide(n: int) -> Grown:
    g = Grown()
    for k in range(n):
        first = g.attempt(answer=f"draft {k}")
        g.verified(g.attempt(first, answer=f"revision {k}"), "fail")
    return g


def test_of_many_the_important_ones_are_shown() -> None:
    g = grown_wide(100)
    end(g, "t.150", "verifier", "max_rounds")
    shown = outline(g.tree, most=10)
    assert len(shown.nodes) == 10
    assert {"t.149", "t.150"} <= {node.id for node in shown.nodes}, "the path to the answer"
    assert {e.id for e in shown.why.evidence if e.id in g.tree.asks} <= {node.id for node in shown.nodes}
    assert shown.left_out == 190
    kinds = [type(item) for item in shown.items]
    assert (Gap, Gap) not in set(pairwise(kinds)), "what is left out is said once"
    assert outline(g.tree).left_out == 0


def test_a_long_path_shows_its_ends() -> None:
    g = Grown()
    last: tuple[str, ...] = ()
    for k in range(100):
        last = (g.attempt(*last, answer=str(k)),)
    end(g, last[0], "nobody", "max_rounds")
    numbers = [int(node.number) for node in outline(g.tree, most=10).nodes]
    assert numbers[:5] == [1, 2, 3, 4, 5]
    assert numbers[5:] == [96, 97, 98, 99, 100]


def test_a_zoom_shows_path_and_children() -> None:
    g = grown_wide(3)
    below = g.attempt("t.4", answer="more")
    shown = outline(g.tree, attempt="t.4")
    assert [node.id for node in shown.nodes] == ["t.3", "t.4", below]
    assert shown.attempt == "t.4"


def test_an_answer_that_was_given_before_is_named() -> None:
    g = Grown()
    for answer in ("40", {"n": 40}, "40", None, "40", {"n": 40}):
        g.attempt(answer=answer)
    assert [node.repeats for node in outline(g.tree).nodes] == ["", "", "1", "", "1", "2"]


def test_marks_tell_what_is_special() -> None:
    g = Grown()
    only = g.attempt(answer="42")
    before = rejects(g, only)
    accepts(g, only, supersedes=before, author="again")
    accepts(g, only, advisory=True, author="shadow")
    g.say(only, author="garbled", parse="unparsed", saw_reference=True)
    end(g, only, "critic", "accepted")
    user_says(g, only, 1.0)
    (node,) = outline(g.tree).nodes
    assert [(s.author, s.marks) for s in node.feedback] == [
        ("critic", ("taken back",)),
        ("again", ()),
        ("shadow", ("shadow",)),
        ("garbled", ("unparsed", "saw the reference")),
        ("user", ("late",)),
    ]
    assert [s.stance for s in node.feedback] == ["fail", "pass", "pass", "", "pass"]


def test_a_grade_is_shown_with_its_source_and_decides_what_an_attempt_is_called() -> None:
    g = Grown()
    attempt = g.attempt(answer="41")
    g.verified(attempt, "pass")
    first = g.say(attempt, source="grader", author="hidden-tests", verdict="pass")
    g.say(attempt, source="grader", author="hidden-tests", verdict="fail", text="2 of 9", supersedes=first)
    end(g, attempt, "verifier", "verified")
    (node,) = outline(g.tree).nodes
    assert node.worth == "wrong"
    assert [(said.source, said.verdict, said.marks) for said in node.feedback] == [
        ("verifier", "pass", ()),
        ("grader", "pass", ("taken back",)),
        ("grader", "fail", ()),
    ]
    file = io.StringIO()
    Console(file=file, width=100).print(page(outline(g.tree)))
    assert "hidden-tests (grader)  fail" in file.getvalue()
    assert "according to the grader 'hidden-tests'" in file.getvalue()


def test_a_reason_is_told_with_words_and_without() -> None:
    g = Grown()
    only = g.attempt(answer="42")
    g.verified(only, "abstain", reason="golden.json is gone", parse="error")
    g.say(only, verdict=Verdict.ABSTAIN, text="Hm, so so.", reason="no line 'Verdict:'", parse="unparsed")
    (node,) = outline(g.tree).nodes
    assert [(s.text, s.details) for s in node.feedback] == [
        ("golden.json is gone", ()),
        ("Hm, so so.", ("reason: no line 'Verdict:'",)),
    ]


def test_calls_are_counted_once_and_with_those_of_feedback() -> None:
    tree = ALL["refine"]()
    first, second = outline(tree).nodes
    assert first.calls_made == 2
    assert sum(n.tokens for n in (first, second)) == sum(
        r.usage.input_tokens + r.usage.output_tokens for r in tree.replies.values()
    )
    assert first.calls[0].prompt[0][0] == "system"


def test_what_feedback_is_about_is_named() -> None:
    def about(name: str) -> set[str]:
        return {s.subject for node in outline(ALL[name]()).nodes for s in node.feedback if s.subject}

    assert about("multi-critique") >= {"on “1853”", "on “Charles Babbage”"}
    assert "shown in this order: 1 0.80, 3 0.20" in about("pairwise")
    assert "attempts 1, 5" in about("code-t")
    assert about("gate") >= {'on [calls shell({"command":"rm -rf /tmp"})]'}


def test_critiques_of_critiques_stand_below_them() -> None:
    (node,) = outline(ALL["multi-critique"]()).nodes
    assert [inner.text for said in node.feedback for inner in said.feedback] == [
        "valid",
        "valid",
        "redundant",
        "wrong",
    ]


def test_every_part_of_a_message_has_words() -> None:
    g = Grown()
    attempt = g.ask()
    call = ToolCall(id="1", name="ls", arguments={"path": "."})
    picture = File.of(b"12345", "application/pdf")
    said = assistant(Reasoning(text="hm"), call, Opaque(provider="p", data={}), sampled=True)
    heard = Message(role="tool", parts=(ToolResult.of("none", call_id="1", name="ls", is_error=True), picture))
    g.settle(attempt, {"n": 1}, messages=(said, heard))
    (node,) = outline(g.tree).nodes
    assert node.work == (
        ("assistant", '[thinks] hm\n[calls ls({"path":"."})]\n[a block of p]'),
        ("tool", f"[ls fails] none\n[file: application/pdf, 5 bytes, sha256 {picture.sha256[:12]}]"),
    )
    assert node.answer == '{\n  "n": 1\n}'


@pytest.mark.parametrize("name", {**ALL, **PLANTED})
def test_every_tree_has_an_outline(name: str) -> None:
    tree = {**ALL, **PLANTED}[name]()
    shown = outline(tree)
    assert sorted(node.id for node in shown.nodes if isinstance(node, Node)) == sorted(tree.asks)
    said = [s for node in shown.nodes for s in node.feedback]
    deep = len(said) + sum(len(s.feedback) for s in said)
    assert deep == len(tree.feedback)


@pytest.mark.parametrize("name", {**ALL, **PLANTED})
def test_every_beginning_of_a_log_can_be_shown(name: str) -> None:
    log = {**ALL, **PLANTED}[name]().log
    for last in range(1, len(log) + 1):
        shown = outline(Tree.of(log[:last]))
        Console(file=io.StringIO(), width=80).print(page(shown, full=True))


def test_the_work_grows_no_faster_than_the_tree() -> None:
    def work(n: int) -> int:
        g = grown_wide(n)
        end(g, f"t.{2 * n}", "verifier", "max_rounds")
        return lines_run(lambda: outline(g.tree, most=20))

    assert work(800) < 1.5 * 4 * work(200)


def test_a_chain_of_revisions_is_deeper_at_each_step_on_a_page() -> None:
    g = Grown()
    last = g.attempt(answer="0")
    for number in range(1, 4):
        last = g.attempt(last, answer=str(number))
    shown = outline(g.tree)
    assert [node.depth for node in shown.nodes] == [0, 1, 2, 3]
    assert [node.indent for node in shown.nodes] == [0, 0, 0, 0], "text in a terminal stays at the margin"
    html = html_page(shown)
    assert re.findall(r'<article id="t\.\d" class="in-(\d)', html) == ["0", "1", "2", "3"]
    assert re.findall(r'<li class="in-(\d)', html) == ["0", "1", "2", "3"]
