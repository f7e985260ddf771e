"""The embedded model: a request becomes a sample in one of three roles, and errors say what to do."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("onnxruntime", reason="the demo extra is not installed")

from critic_loop.assets import Library
from critic_loop.core.errors import ConfigError, DeadlineExceeded, ModelError
from critic_loop.core.messages import assistant, system, user
from critic_loop.core.protocols import Model, Request, scored_choices
from critic_loop.core.records import Sampling
from critic_loop.demo.chars import CORRECT_ANSWER, decode
from critic_loop.demo.countdown import EASY, HARD, prompt_of, sample_puzzles, solve, trace_text, traces
from critic_loop.demo.critique import CountdownCritique
from critic_loop.demo.model import DEFAULT_TEMPERATURE, EmbeddedModel, embedded

WRONG = "8+7=15>3,5,15\n15+5=20>3,20\n20+3=23"


def ask(model: EmbeddedModel, request: Request):
    async def once():
        try:
            return await model.complete(request)
        finally:
            await model.aclose()

    return asyncio.run(once())


CONVERSATION = (
    system("Be kind. Countdown 99: 1 2 3"),
    user("Please solve Countdown 24: 3 5 7 8."),
    assistant(WRONG, sampled=True),
    user("That answer is not correct. Think again."),
)


JUDGED = (system("Role: critic"), user(f"Countdown 24: 3 5 7 8\n{WRONG}"))


@pytest.mark.parametrize(
    ("talk", "prompt"),
    [
        (CONVERSATION[:2], "<draft>24:3,5,7,8\n"),
        (CONVERSATION, "<revise>24:3,5,7,8!8+7,15+5,20+3\n"),
        (JUDGED, "<critique>24:3,5,7,8\nLine 1: 8+7=15>3,5,15\nLine 2: 15+5=20>3,20\nLine 3: 20+3=23\n?"),
    ],
)
def test_the_conversation_decides_the_role(talk, prompt):
    found = ask(embedded("countdown"), Request(messages=talk))
    assert decode(found.prompt_token_ids or ()) == prompt


def test_a_critique_is_greedy_and_an_answer_drawn_unless_the_request_says_more():
    def texts(talk, temperature=None):
        sampling = Sampling(seed=3, temperature=temperature)
        found = ask(embedded("countdown"), Request(messages=talk, choices=8, sampling=sampling))
        return [choice.message.text for choice in found.choices]

    assert texts(JUDGED) == texts(JUDGED, 0.0)
    assert len(set(texts(JUDGED))) == 1
    assert texts(CONVERSATION) == texts(CONVERSATION, DEFAULT_TEMPERATURE)
    assert len(set(texts(CONVERSATION, 0.0))) == 1


def test_what_the_model_says_as_critic_is_read_and_tells_right_from_wrong():
    template = Library().prompt("critic/countdown.md")

    async def scores(model, puzzle):
        wrong = next(t for t in traces(puzzle.numbers) if t[-1].result != puzzle.target)
        found = []
        for steps in (solve(puzzle), wrong):
            values = {"task": prompt_of(puzzle), "answer": trace_text(puzzle.numbers, steps)}
            request = Request(messages=(user(template.render("user", values, "k")),))
            said = CountdownCritique().parse((await model.complete(request)).choices[0].message)
            assert said.parse == "ok", said
            found.append(said.score)
        return found

    async def all_of_them():
        model = embedded("countdown")
        try:
            puzzles = [*sample_puzzles(4, 10, EASY), *sample_puzzles(4, 10, HARD)]
            return await asyncio.gather(*(scores(model, puzzle) for puzzle in puzzles))
        finally:
            await model.aclose()

    right, wrong = zip(*asyncio.run(all_of_them()), strict=True)
    assert sum(right) > sum(wrong) + 1


def test_choices_are_reproducible_and_different():
    model = embedded("countdown")
    assert isinstance(model, Model)
    request = Request(messages=CONVERSATION, choices=4, sampling=Sampling(seed=5, temperature=1.2))
    first, again = ask(model, request), ask(model, request)
    assert first == again
    assert len(first.choices) == 4
    assert len({choice.message.text for choice in first.choices}) > 1
    assert first.usage.input_tokens == len(first.prompt_token_ids or ())
    assert first.usage.output_tokens == sum(len(c.token_ids or ()) for c in first.choices)
    assert all(choice.message.sampled and choice.message.role == "assistant" for choice in first.choices)
    assert first.weight_version.startswith("sha256:")


def test_texts_are_weighed_as_what_would_come_next():
    written = ask(embedded("countdown"), Request(messages=JUDGED)).choices[0]
    texts = (written.message.text, CORRECT_ANSWER)
    found = ask(embedded("countdown"), Request(messages=JUDGED, score=texts, choices=2))
    same, other = scored_choices(Request(messages=JUDGED, score=texts), found)
    assert same.logprobs == (written.logprobs or ())[: len(same.logprobs or ())]
    assert sum(other.logprobs or ()) < sum(same.logprobs or ())
    assert (same.finish_reason, same.message.sampled) == ("scored", False)
    tokens = len(same.token_ids or ()) + len(other.token_ids or ())
    assert found.usage.input_tokens == len(found.prompt_token_ids or ()) + tokens
    assert found.usage.output_tokens == 0


def test_a_text_without_tokens_is_refused_with_texts_that_can_be_scored():
    with pytest.raises(ModelError, match=r"no token for 'Y'\. It can score .*'Verdict: correct'"):
        ask(embedded("countdown"), Request(messages=JUDGED, score=("Yes",)))


def test_a_streaming_caller_gets_the_text():
    heard: list[str] = []
    found = ask(embedded("countdown"), Request(messages=CONVERSATION, on_text=heard.append))
    assert "".join(heard) == found.text


def test_a_request_without_a_puzzle_says_what_to_send():
    with pytest.raises(ModelError, match="Countdown 24: 3 5 7 8"):
        ask(embedded("countdown"), Request(messages=(user("What is love?"),)))


def test_a_deadline_is_kept():
    with pytest.raises(DeadlineExceeded):
        ask(embedded("countdown"), Request(messages=CONVERSATION, timeout_s=0.0))


def test_an_unknown_name_is_refused():
    with pytest.raises(ConfigError, match="embedded:countdown"):
        embedded("chess")


def test_a_missing_runtime_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr("critic_loop.demo.model._NEEDED", ("numpy", "no_such_package_at_all"))
    with pytest.raises(ConfigError, match=r"critic-loop\[demo\]"):
        EmbeddedModel()
