"""What a person sees of a search: pictures, to be looked at by people.

`UPDATE_GOLDEN=1 pytest tests/golden/show` draws the files anew; open them before you keep them.
"""

from __future__ import annotations

import os
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from critic_loop.core.records import Call, Outcome, Place, Reply, Task, Usage
from critic_loop.core.tree import Tree
from critic_loop.render.svg import MOST, colour, picture
from critic_loop.testing.trees import ALL
from tests.conftest import Grown

HERE = Path(__file__).parent
SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "</text></svg><script>alert(1)</script>&amp; \x1b[31m \u202e \ufffe <a href='javascript:x'>"


def call(g: Grown, attempt: str, tokens: int) -> str:
    made = f"c{len(g.tree.calls) + 1}"
    place = Place(subject=(attempt,), agent="actor", turn=len(g.tree.calls))
    g.tree.append(Call(id=made, place=place, digest="", request=(), binding="scripted", sent_at=0.0))
    g.tree.append(Reply(call=made, status="ok", usage=Usage(output_tokens=tokens), ended_at=1.0))
    return made


def grown(parents: list[int | None], chosen: int | None = None) -> Tree:
    """A tree by the place of each attempt's parent; the n-th costs 10 n tokens and is worth n tenths."""
    g, ids = Grown("What is 6 * 7?", tree="drawn"), list[str]()
    for number, parent in enumerate(parents, 1):
        attempt = g.ask(*(() if parent is None else (ids[parent],)))
        call(g, attempt, 10 * number)
        ids.append(g.settle(attempt, str(number)))
        g.say(attempt, score=min(1.0, number / 10))
    if chosen is not None:
        g.tree.append(Outcome(chosen=ids[chosen], decided_by="critic", stop="exhausted"))
    return g.tree


def texts(svg: str) -> list[str]:
    """The labels of the rows, and all other text, as they are read."""
    return [" ".join("".join(text.itertext()).split()) for text in ET.fromstring(svg).iter(f"{SVG}text")]


def titles(svg: str) -> Iterator[str]:
    for group in ET.fromstring(svg).iter(f"{SVG}g"):
        found = group.find(f"{SVG}title")
        if found is not None and found.text:
            yield found.text


# -- goldens -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["rethink-mcts", "pairwise"])
def test_pictures_look_as_they_were_seen(name: str) -> None:
    golden, svg = HERE / f"{name}.svg", picture(ALL[name]())
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(svg, "utf-8")
    assert svg == golden.read_text("utf-8")


@pytest.mark.parametrize("name", ALL)
def test_every_tree_can_be_drawn(name: str) -> None:
    svg = picture(ALL[name]())
    assert texts(svg)[0].startswith(f"Tree {name}")


# -- what is told ------------------------------------------------------------------------------------


def test_it_tells_values_verdicts_the_answer_and_what_was_rethought() -> None:
    svg = picture(ALL["rethink-mcts"]())
    labels = texts(svg)
    for label in (
        "1 0.90 rethought as 5, thought",
        "4 ✗ wrong 0.50",
        "5 in place of 1, thought",
        "6 ✓ right 1.00 ★ chosen",
    ):
        assert label in labels
    assert svg.count('class="link path"') == 3, "task to 5 to 6, and the legend"
    assert svg.count('class="gone"') == svg.count('class="ring"') + 1 == 2


def test_shares_are_of_all_tokens_an_attempts_own_and_with_those_below_it() -> None:
    svg = picture(grown([None, 0, 1, 0]))
    shares = [text for text in texts(svg) if text.endswith(" %")]
    assert shares == ["100.0 %", "100.0 %", "50.0 %", "30.0 %", "40.0 %"]
    own = [
        float(bar) for bar in re.findall(r'class="own" x="[\d.]+" y="[\d.]+" width="([\d.]+)" height="10"', svg)
    ]
    assert own[:4] == [15.0, 30.0, 45.0, 60.0]
    assert "Attempt 2: scored, value 0.200\n20 tokens on itself, 50 with 1 attempt below it\n2" in list(
        titles(svg)
    )


def test_a_call_for_several_counts_for_each_in_equal_parts_and_feedbacks_call_for_what_it_is_about() -> None:
    g = Grown()
    first = g.ask()
    ids = [first, *(g.ask(group=first) for _ in range(2))]
    shared = call(g, first, 30)
    for attempt in ids:
        g.settle(attempt, "x", calls=(shared,))
    call(g, g.say(ids[2], score=0.5), 70)
    shares = [text for text in texts(picture(g.tree)) if text.endswith(" %")]
    assert shares == ["100.0 %", "10.0 %", "10.0 %", "80.0 %"]


def test_without_tokens_calls_are_counted() -> None:
    g = Grown()
    call(g, g.attempt(answer="1"), 0)
    svg = picture(g.tree)
    assert "share of all calls" in texts(svg)
    assert "share of all tokens" in texts(picture(grown([None])))


# -- large trees -------------------------------------------------------------------------------------


def rows(svg: str) -> int:
    return sum(title.startswith("Attempt ") for title in titles(svg))


def test_what_does_not_fit_is_summed_up_where_it_belongs() -> None:
    tree = grown([None, *[0] * 30, *[1] * 100, *[2] * 100], chosen=130)
    svg = picture(tree, most=20)
    assert rows(svg) == 20
    assert "20 of 231 attempts have a row; the rest are summed up" in texts(svg)
    assert any(title.startswith("Attempt 131: ") for title in titles(svg)), "the answer is never left out"
    summed = [int(n) for n in re.findall(r'class="dim">(?:\+ )?(\d+) more', svg)]
    assert sum(summed) == 211
    assert re.search(r"more, best 1\.00: \d+ scored", svg), "what has a score was judged"
    assert "not judged" not in svg.replace(">not judged</text>", ""), "but for the key"
    assert rows(picture(tree)) == MOST
    full = picture(tree, most=None)
    assert rows(full) == 231
    assert " more" not in "".join(texts(full)).replace("larger: more attempts below", "")


def test_a_long_path_is_shown_from_both_its_ends() -> None:
    tree = grown([None, *range(199)], chosen=199)
    svg = picture(tree, most=20)
    assert {"1", "2", "199", "200"} <= set(re.findall(r"Attempt (\d+):", "\n".join(titles(svg))))
    assert svg.count('class="link path skips"') == 1


trees = st.lists(st.integers(0, 60), max_size=60).map(
    lambda places: grown([None, *(place if place <= n else None for n, place in enumerate(places))])
)


@given(trees, st.integers(4, 20))
def test_no_attempt_is_lost_and_rows_do_not_overlap(tree: Tree, most: int) -> None:
    svg = picture(tree, most=most)
    summed = sum(int(n) for n in re.findall(r'class="dim">(?:\+ )?(\d+) more', svg))
    assert rows(svg) + summed == len(tree.asks)
    assert rows(svg) <= most
    places = [float(y) for y in re.findall(r'<text x="[\d.]+" y="([\d.]+)">', svg)]
    assert all(later - earlier == 24 for earlier, later in pairwise(places))


def test_only_an_attempt_with_what_led_to_it_and_what_followed() -> None:
    tree = grown([None, 0, 0, 1, 1, 2])
    numbers = re.findall(r"Attempt (\d+):", "\n".join(titles(picture(tree, attempt="drawn.2"))))
    assert numbers == ["1", "2", "4", "5"]


# -- safety ------------------------------------------------------------------------------------------


def test_what_a_model_wrote_is_text() -> None:
    g = Grown(Task.of(HOSTILE), tree="hostile")
    g.attempt(answer=HOSTILE)
    g.attempt(status="failed", error=HOSTILE)
    g.attempt(answer={HOSTILE: HOSTILE})
    svg = picture(g.tree)
    root = ET.fromstring(svg)
    tags = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert tags == {"svg", "style", "rect", "text", "tspan", "path", "g", "title", "circle"}
    assert "<U+001B>" in "".join(titles(svg))
    assert not set(svg) & {"\x1b", "\u202e", "\ufffe"}


def test_it_needs_nothing_from_elsewhere() -> None:
    svg = picture(ALL["chinese"]())
    assert re.findall(r"(?:href|src|url|@import|on\w+=)", svg) == []
    assert re.findall(r"https?://[^\"\s]+", svg) == ["http://www.w3.org/2000/svg"]


# -- colours -----------------------------------------------------------------------------------------


def luminance(shade: str) -> float:
    parts = [int(shade[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("tenth", range(11))
def test_values_stand_out_on_light_and_dark(tenth: int) -> None:
    """WCAG's contrast of 3 for what is no text."""
    shade = luminance(colour(tenth / 10))
    for paper in ("#ffffff", "#14161a"):
        lighter, darker = sorted((shade, luminance(paper)), reverse=True)
        assert (lighter + 0.05) / (darker + 0.05) >= 3.0
