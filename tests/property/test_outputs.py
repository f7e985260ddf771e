"""No text makes a parser raise, and what cannot be read is never accepted nor scored."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from critic_loop.core.messages import assistant
from critic_loop.core.records import Feedback, Verdict
from critic_loop.outputs import critique_of, output_of

PIECES = [
    "Verdict", "verdict:", "Better: ", "Score: ", "7/10", "correct", "wrong", "not ", " or ", "A", "tie", "\n",
    "判定：", "正确", "错误", "```", "```json\n", "~~~", "{", "}", "[", "]", '"', "\\", "\\boxed{", ",", ":",
    " ", "null", '"verdict"', '"score"', '"pass"', "0.5", "1e999", "NaN", "\\ud800", "<think>", "</think>",
    "**", "> ", "x",
]  # fmt: skip
"""What parsers react to: their concatenations go deeper than arbitrary text."""

TEXTS = st.text(max_size=200) | st.lists(st.sampled_from(PIECES), max_size=30).map("".join)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


class Item(BaseModel):
    name: str
    score: float | None = None
    inner: list["Item"] = []


OUTPUTS = [
    output_of(given) for given in ("text", "json", "boxed", "code:python", "choice:yes|no", Item, list[int])
]
CRITIQUES = [critique_of(name) for name in ("critique", "rubric", "verdict", "pair")]


@pytest.mark.parametrize("output", OUTPUTS, ids=lambda output: output.name)
@given(text=TEXTS)
def test_any_text_is_parsed_or_explained_and_values_survive_storage(output, text):
    parsed = output.parse(assistant(text))
    if parsed.found:
        stored = json.loads(json.dumps(output.dump(parsed.value)))
        assert output.load(stored) == parsed.value
    else:
        assert parsed.value is None
        assert parsed.reason
        assert len(parsed.reason) < 1000


@pytest.mark.parametrize("output", CRITIQUES, ids=lambda output: output.name)
@given(text=TEXTS)
def test_any_text_is_a_judgement_or_an_abstention(output, text):
    feedback = output.parse(assistant(text))
    assert Feedback.model_validate_json(feedback.model_dump_json()) == feedback
    assert (feedback.id, feedback.subject) == ("", None)
    if feedback.parse == "unparsed":
        assert (feedback.verdict, feedback.score, feedback.preference) == (Verdict.ABSTAIN, None, None)
        assert feedback.reason
        assert feedback.text == text
    if feedback.verdict is Verdict.ABSTAIN:
        assert feedback.score is None


@given(
    value=JSON,
    before=st.sampled_from(["", "So: ", "```json\n"]),
    after=st.sampled_from(["", "\n```", "\nDone."]),
)
def test_json_is_found_unchanged_in_whatever_surrounds_it(value, before, after):
    parsed = output_of("json").parse(assistant(before + json.dumps({"value": value}) + after))
    assert (parsed.value, parsed.status) == ({"value": value}, "ok")


@given(value=JSON)
def test_repairs_change_no_value(value):
    text = json.dumps({"value": value}, ensure_ascii=False)
    parsed = output_of("json").parse(assistant(text[:-1] + ",}"))
    assert (parsed.value, parsed.status) == ({"value": value}, "repaired")


@given(
    before=st.text().filter(lambda text: "<think>" not in text), verdict=st.sampled_from(["correct", "wrong"])
)
def test_a_last_verdict_line_is_always_found(before, verdict):
    feedback = critique_of("verdict").parse(assistant(f"{before}\nVerdict: {verdict}"))
    assert feedback.verdict is (Verdict.PASS if verdict == "correct" else Verdict.FAIL)
