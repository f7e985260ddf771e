"""The small model's runtime and its adapter: determinism, company, cancellation, errors."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from importlib.resources import files

import pytest

pytest.importorskip("onnxruntime", reason="the demo extra is not installed")

from critic_loop.core.errors import ConfigError, DeadlineExceeded, ModelError
from critic_loop.core.messages import assistant, system, user
from critic_loop.core.protocols import Model, Request
from critic_loop.core.records import Sampling
from critic_loop.demo import countdown as cd
from critic_loop.demo.chars import ALPHABET, CONTEXT_TOKENS, char_prompt, compact, decode, encode
from critic_loop.demo.model import EmbeddedModel, char_prompt_of, embedded
from critic_loop.demo.runtime import Runtime

PUZZLES = cd.sample_puzzles(11, 40)
WRONG = "8+7=15>3,5,15\n15+5=20>3,20\n20+3=23"


@pytest.fixture(scope="module")
def runtime():
    with Runtime(slots=32, threads=1) as made:
        yield made


def gather(*calls):
    async def all_of_them():
        return await asyncio.gather(*calls)

    return asyncio.run(all_of_them())


def prompts() -> list[str]:
    return [char_prompt(puzzle, [WRONG] * (index % 6)) for index, puzzle in enumerate(PUZZLES)]


def calls(runtime: Runtime, temperature: float, count: int = 40):
    return [runtime.sample(p, temperature=temperature, seed=i) for i, p in enumerate(prompts()[:count])]


def test_the_alphabet_is_read_back():
    assert decode(encode(ALPHABET)) == ALPHABET
    assert decode([0, 1, 23]) == ""


def test_rejected_attempts_are_shortened_and_the_oldest_dropped_first():
    assert compact(WRONG) == "8+7,15+5,20+3=23"
    assert compact("no idea") == ""
    shown = char_prompt(cd.Puzzle(24, (3, 5, 7, 8)), ["1+1=2", *[WRONG] * 5, "hm"])
    assert shown == "24:3,5,7,8" + "!8+7,15+5,20+3=23" * 5 + "\n"
    long = "\n".join(["999+999=999"] * 9)
    assert len(char_prompt(cd.Puzzle(24, (100, 200, 300, 400)), [long] * 9)) < CONTEXT_TOKENS - 64


def test_only_puzzles_of_four_numbers_show_rejected_attempts():
    assert char_prompt(cd.Puzzle(24, (3, 5, 8)), [WRONG]) == "24:3,5,8\n"


@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_the_same_seed_gives_the_same_sample_alone_and_in_company(runtime, temperature):
    together = gather(*calls(runtime, temperature))
    alone = [asyncio.run(one) for one in calls(runtime, temperature, 12)]
    backwards = gather(*reversed(calls(runtime, temperature)))[::-1]
    assert together == backwards
    assert together[:12] == alone


def test_more_threads_give_the_same_samples(runtime):
    with Runtime(slots=8, threads=2) as other:
        assert gather(*calls(other, 0.9, 20)) == gather(*calls(runtime, 0.9, 20))


def test_other_seeds_give_other_samples_unless_greedy(runtime):
    prompt = prompts()[3]
    drawn = gather(*(runtime.sample(prompt, temperature=1.5, seed=seed) for seed in range(8)))
    greedy = gather(*(runtime.sample(prompt, temperature=0.0, seed=seed) for seed in range(8)))
    assert len({sample.text for sample in drawn}) > 1
    assert len(set(greedy)) == 1


def test_a_sample_says_all_about_itself(runtime):
    sample = asyncio.run(runtime.sample(prompts()[0]))
    assert sample.finish_reason == "stop"
    assert decode(sample.token_ids) == sample.text
    assert len(sample.token_ids) == len(sample.logprobs) == len(sample.text) + 1
    assert all(logprob <= 0 for logprob in sample.logprobs)
    assert sample.prompt_tokens == len(prompts()[0])


def test_a_sample_ends_at_its_limit_or_stop_string(runtime):
    cut, stopped, filled = gather(
        runtime.sample(prompts()[0], max_tokens=3),
        runtime.sample(prompts()[0], stop=["\n"]),
        runtime.sample("!" * (CONTEXT_TOKENS - 2), max_tokens=99),
    )
    assert (len(cut.text), cut.finish_reason) == (3, "length")
    assert "\n" not in stopped.text
    assert stopped.finish_reason == "stop"
    assert len(filled.token_ids) <= 2


def test_cancelling_one_request_leaves_the_others_unharmed(runtime):
    expected = gather(*calls(runtime, 0.9))

    async def cancel_every_third():
        tasks = [asyncio.ensure_future(one) for one in calls(runtime, 0.9)]
        await asyncio.sleep(0.01)
        for task in tasks[::3]:
            task.cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    found = asyncio.run(cancel_every_third())
    kept = [index for index in range(len(found)) if index % 3]
    assert [found[index] for index in kept] == [expected[index] for index in kept]
    assert asyncio.run(calls(runtime, 0.9, 1)[0]) == expected[0]


def test_several_event_loops_share_a_runtime(runtime):
    expected, found = gather(*calls(runtime, 0.9, 12)), {}

    def work(name: int) -> None:
        found[name] = gather(*calls(runtime, 0.9, 12))

    threads = [threading.Thread(target=work, args=(name,)) for name in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(found.values()) == [expected] * 3


@pytest.mark.parametrize(
    ("prompt", "settings", "words"),
    [
        ("", {}, "1 to 255"),
        ("!" * CONTEXT_TOKENS, {}, "1 to 255"),
        ("hello", {}, "no 'h'"),
        ("1", {"max_tokens": 0}, "max_tokens"),
        ("1", {"temperature": -1.0}, "temperature"),
    ],
)
def test_a_request_that_cannot_be_served_is_refused(runtime, prompt, settings, words):
    with pytest.raises(ValueError, match=words):
        asyncio.run(runtime.sample(prompt, **settings))


def test_a_closed_runtime_ends_what_waits_and_takes_no_more():
    made = Runtime(slots=2, threads=1)

    async def close_amid():
        tasks = [asyncio.ensure_future(one) for one in calls(made, 0.9)]
        await asyncio.sleep(0)
        await asyncio.to_thread(made.close)
        return await asyncio.gather(*tasks, return_exceptions=True)

    ended = asyncio.run(close_amid())
    assert any(isinstance(one, RuntimeError) for one in ended)
    made.close()
    with pytest.raises(RuntimeError, match="closed"):
        asyncio.run(made.sample("1"))


@pytest.mark.parametrize("stage", ["join", "step"])
def test_a_failing_engine_fails_every_call(monkeypatch, stage):
    def fail(*_):
        raise OSError("no memory")

    with Runtime(slots=2, threads=1) as made:
        monkeypatch.setattr(made._engine, stage, fail)

        async def ask():
            waiting = asyncio.gather(*calls(made, 0.9, 6), return_exceptions=True)
            return await asyncio.wait_for(waiting, timeout=20)

        assert {type(one) for one in asyncio.run(ask())} <= {OSError, RuntimeError}


def test_the_model_card_names_the_very_file():
    folder = files("critic_loop.demo") / "weights"
    data = (folder / "countdown.onnx").read_bytes()
    assert len(data) <= 5_000_000
    assert hashlib.sha256(data).hexdigest() in (folder / "MODEL_CARD.md").read_text(encoding="utf-8")


# -- the adapter -------------------------------------------------------------------------------


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


def test_the_template_reads_the_puzzle_and_the_rejected_attempts():
    assert char_prompt_of(CONVERSATION) == "24:3,5,7,8!8+7,15+5,20+3=23\n"
    assert char_prompt_of(CONVERSATION[:2]) == "24:3,5,7,8\n"
    assert char_prompt_of(CONVERSATION[2:]) is None


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
