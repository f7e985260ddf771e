"""Differences that read without colour."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from critic_loop.render.diff import diff


def lines(old: str, new: str) -> list[str]:
    return [f"{line.op} {line.text}" for line in diff(old, new)]


def changed(old: str, new: str) -> list[str]:
    return [piece.text for line in diff(old, new) for piece in line.pieces if piece.changed]


def test_nothing_changed() -> None:
    assert diff("a\nb", "a\nb") == ()


def test_lines_that_changed_stand_below_each_other() -> None:
    assert lines("a\nb\nc", "a\nB\nc") == ["  a", "- b", "+ B", "  c"]


def test_only_the_words_that_changed_are_marked() -> None:
    assert changed("return x + 2", "return x * 2") == ["+", "*"]
    assert changed("鸡有22只", "鸡有23只") == ["22", "23"]
    assert changed("共有鸡", "共有兔") == ["鸡", "兔"]


def test_far_from_a_change_lines_are_left_out() -> None:
    old = "\n".join(map(str, range(20)))
    shown = lines(old, old.replace("10", "ten"))
    assert shown == [
        "… 8 lines as before",
        "  8",
        "  9",
        "- 10",
        "+ ten",
        "  11",
        "  12",
        "… 7 lines as before",
    ]


def test_prose_is_compared_by_sentences() -> None:
    first, second = (
        "This stays as it was, word for word, since it is right. ",
        "This is too long for most readers, who want to know what it is about. ",
    )
    old = first + second + "The end of all of it."
    new = first + "This is short. " + "The end of all of it."
    assert [op for op, *_ in lines(old, new)] == [" ", "-", "+", " "]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("a\nb", "a\nb\n"),
        ("a\nb", "a\r\nb"),
        ("a\nb", "a \nb\t"),
        ("if x:\n\ty()", "if x:\n        y()"),
        ("One. " + "two " * 40 + ". Three.", "One.\n" + "two " * 40 + ".\tThree."),
    ],
)
def test_a_change_that_cannot_be_seen_is_told(old: str, new: str) -> None:
    assert lines(old, new) == ["… only white space changed"]


def test_an_indentation_that_changed_is_shown() -> None:
    assert lines("if x:\n    y()\nz()", "if x:\n    y()\n    z()")[-2:] == ["- z()", "+     z()"]


def test_the_end_of_a_sentence_is_no_sentence() -> None:
    old, new = "句" * 121 + "。", "句" * 121 + "。新。"
    assert lines(old, new) == [f"  {old}", "+ 新。"]
    assert lines(old, old + "\n\n末")[1:] == ["+ ", "+ 末"]


def test_lines_that_only_came_or_went() -> None:
    assert lines("a", "a\nb") == ["  a", "+ b"]
    assert lines("a\nb", "b") == ["- a", "  b"]
    assert lines("", "a") == ["+ a"]


@pytest.mark.parametrize("size", [3_000, 100_000])
def test_what_is_too_long_is_said_to_be(size: int) -> None:
    (line,) = diff("a\n" * size, "b\n" * size)
    assert line.text == f"too long to compare: {size:,} and {size:,} lines"


def test_a_very_long_line_takes_no_time() -> None:
    assert changed("a " * 5_000, "b " * 5_000) == ["a " * 5_000, "b " * 5_000]


texts = st.lists(st.text(alphabet="ab c", max_size=8), max_size=12).map("\n".join)


@given(texts, texts)
def test_both_texts_can_be_read_off(old: str, new: str) -> None:
    if old == new or any(line.op == "…" for line in diff(old, new)):
        return
    shown = diff(old, new)
    assert [line.text for line in shown if line.op in "- "] == old.splitlines()
    assert [line.text for line in shown if line.op in "+ "] == new.splitlines()
