"""The small model's runtime: determinism, company, cancellation, errors."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from importlib.resources import files

import pytest

pytest.importorskip("onnxruntime", reason="the demo extra is not installed")

from critic_loop.demo import countdown as cd
from critic_loop.demo.chars import (
    CONTEXT_TOKENS,
    END_ID,
    Rejected,
    critique_prompt,
    decode,
    draft_prompt,
    encode,
    revise_prompt,
)
from critic_loop.demo.runtime import Runtime

PUZZLES = [*cd.sample_puzzles(11, 20), *cd.sample_puzzles(11, 20, cd.HARD)]
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
    """Prompts of all roles and of many lengths."""
    made: list[str] = []
    for index, puzzle in enumerate(PUZZLES):
        again = revise_prompt(puzzle, [Rejected(WRONG, index % 4)] * (index % 9))
        made.append((draft_prompt(puzzle), critique_prompt(puzzle, WRONG), again)[index % 3])
    return made


def calls(runtime: Runtime, temperature: float, count: int = 40):
    return [runtime.sample(p, temperature=temperature, seed=i) for i, p in enumerate(prompts()[:count])]


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
    prompt = draft_prompt(PUZZLES[3])
    drawn = gather(*(runtime.sample(prompt, temperature=1.5, seed=seed) for seed in range(8)))
    greedy = gather(*(runtime.sample(prompt, temperature=0.0, seed=seed) for seed in range(8)))
    assert len({sample.text for sample in drawn}) > 1
    assert len(set(greedy)) == 1


def test_a_sample_says_all_about_itself(runtime):
    sample = asyncio.run(runtime.sample(prompts()[0]))
    assert sample.finish_reason == "stop"
    assert decode(sample.token_ids) == sample.text
    assert sample.token_ids == (*encode(sample.text), END_ID)
    assert len(sample.token_ids) == len(sample.logprobs)
    assert all(logprob <= 0 for logprob in sample.logprobs)
    assert sample.prompt_tokens == len(encode(prompts()[0]))


def test_a_text_that_is_given_weighs_what_it_weighed_when_it_was_written(runtime):
    written = gather(*calls(runtime, 0.9))
    weighed = gather(*(runtime.score(p, s.text) for p, s in zip(prompts(), written, strict=True)))
    for before, now in zip(written, weighed, strict=True):
        assert (now.text, now.prompt_tokens) == (before.text, before.prompt_tokens)
        assert now.token_ids == before.token_ids[: len(now.token_ids)] == tuple(encode(before.text))
        assert now.logprobs == before.logprobs[: len(now.logprobs)]


def test_a_text_that_is_given_is_taken_however_unlikely_it_is(runtime):
    greedy = asyncio.run(runtime.sample(prompts()[0]))
    weighed = asyncio.run(runtime.score(prompts()[0], "!!"))
    assert decode(weighed.token_ids) == "!!" != greedy.text[:2]
    assert max(weighed.logprobs) < greedy.logprobs[0] <= 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the text is empty"),
        ("Yes", "no token for 'Y'"),
        ("!" * CONTEXT_TOKENS, r"only \d+ fit after this prompt"),
    ],
)
def test_a_text_that_cannot_be_scored_is_refused(runtime, text, words):
    with pytest.raises(ValueError, match=words):
        asyncio.run(runtime.score(prompts()[0], text))


def test_a_sample_ends_at_its_limit_or_stop_string(runtime):
    cut, half, stopped, filled = gather(
        runtime.sample(prompts()[0], max_tokens=3),
        runtime.sample(prompts()[0], stop=["\n", "="]),
        runtime.sample(prompts()[0], stop=["\n"]),
        runtime.sample("!" * (CONTEXT_TOKENS - 2), max_tokens=99),
    )
    assert (len(cut.token_ids), cut.finish_reason) == (3, "length")
    assert "\n" not in stopped.text
    assert stopped.finish_reason == "stop"
    assert (cut.stopped_by, half.stopped_by, stopped.stopped_by) == ("", "=", "\n")
    assert stopped.text.startswith(f"{half.text}=")
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
        ("hello", {}, "no token for 'h'"),
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
