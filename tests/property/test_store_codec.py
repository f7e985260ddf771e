"""Any JSON comes back from the codec as it was, and every text from its pieces."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from critic_loop.store import codec
from tests.work import lines_run

LONG_WORDS = ["x" * 128, "line\n" * 40, 'he said "no"\t' * 20, "鸡兔同笼🐔" * 30, "^12" * 60, "<data " * 40]
words = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        ["^", "^^", "^1", "^.", "^!inf", "^!s", "^!i5", "t.", "t.1", "t.f3", "", "a", "aa", "!s", "^a"]
    ),
    st.sampled_from(LONG_WORDS),
    st.sampled_from(["\ud800", "a\udfff" * 100, "type", "text", "parts", "role", "sampled", "agent", "model"]),
)
scalars = st.none() | st.booleans() | st.integers() | st.integers(-(2**70), 2**70) | st.floats() | words
keys = st.one_of(words, st.sampled_from([*codec.KEYS[:12], *sorted(codec.LABELS), "b", "bs"]))
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4), max_leaves=25
)


class Kept:
    """Texts in a list."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def put(self, text: str) -> int:
        text.encode()
        if text not in self.texts:
            self.texts.append(text)
        return self.texts.index(text)

    def get(self, number: int) -> str:
        return self.texts[number]


def same(one: Any, other: Any) -> bool:
    """Equal in type too, with NaN equal to NaN."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and math.isnan(one):
        return isinstance(other, float) and math.isnan(other)
    return type(one) is type(other) and one == other


@given(values)
@example({"type": "text", "text": "x" * 200})
@example({"role": "user", "parts": [{"type": "text", "text": "t.1"}]})
@example({"role": "user", "parts": [{"type": "text", "text": "t.1"}], "sampled": True})
@example({"role": "user", "parts": [{"type": "text", "text": "t.1"}], "sampled": 1})
@example({"role": "user", "parts": [{"type": "text", "text": 5}]})
@example({"role": 5, "parts": [{"type": "text", "text": ""}]})
@example({"role": "user", "parts": [{"type": "text", "text": ""}, {}]})
@example({"role": "user", "parts": {"type": "text"}})
@example({"role": "\ud800", "parts": [{"type": "text", "text": "\ud800" * 200}], "sampled": False})
@example(
    {"": 1, "^": 2, "^!s": 3, "\ud800": 4, "model": "\ud800" * 20, "agent": "^1" * 20, "tools": "t.1234567890"}
)
@example([2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, math.inf, -math.inf, math.nan, -0.0])
@settings(max_examples=200, deadline=None)
def test_any_json_comes_back(value: Any) -> None:
    kept = Kept()
    body = codec.dumps(value, "t", kept.put)
    assert same(value, codec.loads(body, "t", kept.get))


@given(values)
@settings(max_examples=100, deadline=None)
def test_long_strings_are_never_inline(value: Any) -> None:
    def strings(packed: Any) -> list[str]:
        if isinstance(packed, dict):
            return [s for key, item in packed.items() for s in strings(item)]
        if isinstance(packed, list):
            return [s for item in packed for s in strings(item)]
        return [packed] if isinstance(packed, str) else []

    body = codec.dumps(value, "t", Kept().put)
    assert all(len(s) < codec.LONG or s.startswith("^!") for s in strings(orjson.loads(body)))


FENCE = re.compile(r"<data ([0-9a-f]{16}) ([^\n>]*)>\n(.*?)\n</data \1>", re.DOTALL)
boundaries = st.sampled_from(["0123456789abcdef", "fedcba9876543210"])
names = st.sampled_from(["answer", "feedback", "", "answer 2"])
fenced = st.builds(lambda b, n, t: f"<data {b} {n}>\n{t}\n</data {b}>", boundaries, names, words)
prompts = st.lists(
    st.one_of(fenced, words, st.sampled_from(["<data 0123456789abcdef x>\n", "\n</data 0123456789abcdef>"])),
    max_size=8,
).map("".join)


@given(prompts)
@example("<data 0123456789abcdef x>\n\n</data 0123456789abcdef>")
@example(
    "<data 0123456789abcdef x>\nno end" + "<data fedcba9876543210 y>\nin\n</data fedcba9876543210> tail" * 2
)
@settings(max_examples=200, deadline=None)
def test_texts_are_joined_from_their_pieces(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        return  # such a text never gets here: it stands in the record itself
    kept = Kept()
    body = codec.split(text, kept.put)
    if body is None:
        assert FENCE.search(text) is None
    else:
        assert codec.join(body, kept.get) == text


def test_fenced_data_is_shared_with_where_it_stood() -> None:
    kept = Kept()
    answer = "an answer " * 50
    number = kept.put(answer)
    body = codec.split(f"See:\n<data 0123456789abcdef answer>\n{answer}\n</data 0123456789abcdef>", kept.put)
    assert orjson.loads(body or "") == ["See:\n", ["0123456789abcdef", "answer", number]]
    assert kept.texts == [answer]


@given(st.text(max_size=40), st.text(min_size=1, max_size=60), st.text(max_size=40), st.booleans())
@settings(max_examples=200, deadline=None)
def test_slices_restore_what_was_cut_out(before: str, text: str, after: str, escaped: bool) -> None:
    inside = orjson.dumps(text).decode()[1:-1] if escaped else text
    source = f'{before}"{inside}"{after}'
    found = codec.slice_of(text, 7, source)
    assert found is not None
    assert codec.join(codec.slice_body(found), {7: source}.__getitem__) == text


def test_fences_that_nothing_closes_do_not_cost_more_and_more() -> None:
    small, large = ("".join(f"<data {n:016x} x>\n" for n in range(count)) for count in (1_000, 20_000))
    assert codec.split(large, Kept().put) is None
    closed = "<data 0123456789abcdef x>\nin\n</data 0123456789abcdef>" + large
    kept = Kept()
    assert codec.join(codec.split(closed, kept.put) or "", kept.get) == closed
    few, many = (lines_run(codec.split, text, Kept().put) for text in (small, large))
    assert many < 1.1 * few


def test_what_is_no_slice() -> None:
    assert codec.slice_of("same", 1, "same") is None, "a text is no slice of itself"
    assert codec.slice_of("other", 1, "some longer text") is None
    assert codec.slice_of('with "quotes"', 1, "some longer text without them") is None


def test_codes_of_names_never_change() -> None:
    """The place of a name in `KEYS` is what files hold: append to the list, change nothing else."""
    assert len(set(codec.KEYS)) == len(codec.KEYS)
    assert codec.KEYS[0] == "type"
    assert codec.KEYS.index("rests_on") == 125
    body = codec.dumps({"type": "x", "sent_at": 1.5, "total_tokens": 3}, "t", Kept().put)
    assert json.loads(body) == {"a": "x", "H": 1.5, "bu": 3}


@pytest.mark.parametrize("text", ["x" * 127, "鸡" * 127])
def test_short_strings_stay(text: str) -> None:
    kept = Kept()
    assert codec.loads(codec.dumps([text], "t", kept.put), "t", kept.get) == [text]
    assert kept.texts == []
