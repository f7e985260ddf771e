"""Fallback chains, breakers and splits."""

import asyncio
from collections import Counter

import pytest

from critic_loop.core.errors import (
    AuthFailed,
    ConfigError,
    ContextOverflow,
    CreditExhausted,
    DeadlineExceeded,
    NotSent,
    OutputError,
    RateLimited,
    Refused,
    Unreachable,
)
from critic_loop.models import EndpointError, FailurePolicy, Fallback, Split, Switchboard
from critic_loop.models.slots.routes import specs_in
from critic_loop.models.wrappers.breaker import cause_of
from critic_loop.testing import ScriptedModel, run_virtual

pytestmark = pytest.mark.anyio


def named(spec):
    return ScriptedModel(lambda _: "ok", spec=spec)


class Chain:
    """A slot bound to a chain of `a` and `b`, and what its breakers said."""

    def __init__(self, *candidates, **causes):
        self.board = Switchboard("critic")
        self.board.bind("critic", Fallback(*map(named, candidates or ("a", "b")), **causes))
        self.said = []
        self.board.subscribe(lambda change: self.said.append((change.spec, change.state)))

    async def call(self, **outcomes):
        """Make one call, where candidates fail as told; return who was asked, in order."""
        asked = []
        async with self.board.lease("critic", attempt="t.1") as leased:
            while True:
                asked.append(leased.cursor.model.spec)
                error = outcomes.get(asked[-1])
                if error is None:
                    leased.cursor.answered()
                    return asked
                if leased.cursor.failed(error) is None:
                    return [*asked, "failed"]


OUTAGE = Unreachable("down")


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (Unreachable("x"), "outage"), (RateLimited("x"), "outage"), (DeadlineExceeded("x"), "outage"),
        (EndpointError("x", status=503, transient=True), "outage"), (EndpointError("x", status=400), None),
        (Refused("x"), "refusal"), (OutputError("x"), "invalid"), (CreditExhausted("x"), "credit"),
        (AuthFailed("x"), None), (ContextOverflow("x"), None),
    ],
)  # fmt: skip
def test_only_what_another_model_may_cure_is_a_cause(error, cause):
    assert cause_of(error) == cause


async def test_the_next_leg_is_asked_and_the_last_error_stands():
    chain = Chain()
    assert await chain.call() == ["a"]
    assert await chain.call(a=OUTAGE) == ["a", "b"]
    assert await chain.call(a=OUTAGE, b=Refused("no")) == ["a", "b", "failed"]
    assert await chain.call(a=AuthFailed("401")) == ["a", "failed"], "a wrong key is to be seen"
    assert await chain.call(a=NotSent("halted")) == ["a", "failed"]


async def test_a_cause_that_does_not_fall_back_leaves_the_error():
    chain = Chain(refusal=FailurePolicy(fall_back=False))
    assert await chain.call(a=Refused("no")) == ["a", "failed"]
    assert await chain.call(a=OUTAGE) == ["a", "b"]


def test_a_leg_that_keeps_failing_is_left_alone_then_tried_with_one_call():
    async def main():
        chain = Chain(outage=FailurePolicy(opens_after=3, pause_s=10.0))
        for _ in range(3):
            assert await chain.call(a=OUTAGE) == ["a", "b"]
        assert await chain.call() == ["b"], "the breaker is open"
        await asyncio.sleep(10.5)
        assert await chain.call(a=OUTAGE) == ["a", "b"], "tried, and still down"
        await asyncio.sleep(10.5)
        assert await chain.call() == ["b"], "the pause is twice as long"
        await asyncio.sleep(10)
        async with chain.board.lease("critic", attempt="t.1") as trying:
            assert trying.cursor.model.spec == "a"
            assert trying.cursor.retries == 0
            assert await chain.call() == ["b"], "one call tries, the others do not wait for it"
            trying.cursor.answered()
        assert await chain.call() == ["a"]
        return chain.said

    states = [state for _, state in run_virtual(main())]
    assert states == ["open", "half-open", "open", "half-open", "closed"]


def test_a_trial_that_is_refused_ends_an_outage_all_the_same():
    async def main():
        chain = Chain(outage=FailurePolicy(opens_after=1, pause_s=1.0))
        await chain.call(a=OUTAGE)
        await asyncio.sleep(2)
        assert await chain.call(a=Refused("no")) == ["a", "b"]
        assert await chain.call() == ["a"]
        return [state for _, state in chain.said]

    assert run_virtual(main()) == ["open", "half-open", "closed"]


def test_a_trial_that_ends_without_a_word_lets_another_try():
    async def main():
        chain = Chain(outage=FailurePolicy(opens_after=1, pause_s=1.0))
        await chain.call(a=OUTAGE)
        await asyncio.sleep(2)
        async with chain.board.lease("critic", attempt="t.1") as cancelled:
            cancelled.cursor.left()
        assert await chain.call() == ["a"]

    run_virtual(main())


def test_calls_from_before_a_breaker_opened_do_not_move_it():
    async def main():
        chain = Chain(outage=FailurePolicy(opens_after=1, pause_s=10.0))
        async with chain.board.lease("critic", attempt="t.1") as early, chain.board.lease("critic") as late:
            assert early.cursor.model.spec == late.cursor.model.spec == "a"
            await chain.call(a=OUTAGE)
            early.cursor.answered()
            late.cursor.failed(OUTAGE)
        assert await chain.call() == ["b"]
        return chain.said

    assert run_virtual(main()) == [("a", "open")]


async def test_causes_are_counted_apart_and_an_answer_starts_anew():
    chain = Chain(outage=FailurePolicy(opens_after=2), credit=FailurePolicy(opens_after=1))
    await chain.call(a=OUTAGE)
    await chain.call(a=Refused("no"))
    await chain.call(a=OUTAGE)
    await chain.call()
    await chain.call(a=OUTAGE)
    assert chain.said == []
    await chain.call(a=CreditExhausted("402"))
    assert chain.said == [("a", "open")]


async def test_where_all_are_left_alone_the_one_due_first_is_asked():
    chain = Chain(
        outage=FailurePolicy(opens_after=1, pause_s=5.0), credit=FailurePolicy(opens_after=1, pause_s=500.0)
    )
    assert await chain.call(a=CreditExhausted("402"), b=OUTAGE) == ["a", "b", "failed"]
    assert await chain.call() == ["b"]


async def test_legs_with_another_behind_them_retry_less_and_may_reject():
    chain = Chain()
    async with chain.board.lease("critic") as leased:
        assert (leased.cursor.retries, leased.cursor.rejects) == (1, True)
        leased.cursor.failed(OUTAGE)
        assert (leased.cursor.retries, leased.cursor.rejects) == (None, False)


async def test_a_slot_with_one_model_is_never_broken():
    board = Switchboard("critic")
    board.bind("critic", named("a"))
    for _ in range(20):
        async with board.lease("critic") as leased:
            assert leased.cursor.model.spec == "a"
            assert leased.cursor.failed(OUTAGE) is None


async def test_a_split_gives_each_its_share_and_the_same_attempt_the_same_model():
    board = Switchboard("critic")
    board.bind("critic", Split({named("a"): 3, named("b"): 1, named("c"): 0}))

    async def asked():
        seen = []
        for n in range(2000):
            async with board.lease("critic", attempt=f"t.{n}") as leased:
                seen.append(leased.cursor.model.spec)
        return seen

    first = await asked()
    assert await asked() == first
    shares = Counter(first)
    assert shares["c"] == 0
    assert 0.70 < shares["a"] / 2000 < 0.80


def test_chains_and_splits_can_be_written_as_one_string():
    board = Switchboard("critic")
    for text in (
        "ollama:a | ollama:b",
        "90% ollama:a + 10% ollama:b",
        "99.5% ollama:a | ollama:c + 0.5% ollama:b",
        "vllm:base+adapter@http://gpu:8000",
    ):
        assert board.bind("critic", text).spec == text
    assert repr(Fallback("ollama:a", "ollama:b")) == "Fallback('ollama:a | ollama:b')"
    assert Split({"a:b": 1, Fallback("a:c", "a:d"): 2}).spec == "1% a:b + 2% a:c | a:d"


@pytest.mark.parametrize(
    "make",
    [
        lambda: Fallback("ollama:a"), lambda: Split({}), lambda: Split({"ollama:a": 0}),
        lambda: Split({"ollama:a": -1, "ollama:b": 2}),
        lambda: Switchboard("critic").bind("critic", "90% ollama:a + ollama:b"),
    ],
)  # fmt: skip
def test_what_is_no_chain_or_split_is_refused(make):
    with pytest.raises(ConfigError):
        make()


def test_what_is_shown_of_a_chain_or_split_has_no_password():
    with_password = "chat:m@http://me:planted@gpu:1/v1"
    with pytest.raises(ConfigError) as refused:
        Switchboard("critic").bind("critic", f"90% {with_password} + ollama:a")
    shown = [str(refused.value), repr(Fallback(with_password, "ollama:a")), repr(Split({with_password: 1}))]
    assert "planted" not in "".join(shown)
    assert shown[1] == "Fallback('chat:m@http://…@gpu:1/v1 | ollama:a')"


async def test_a_chain_is_warmed_by_its_first_leg_and_a_split_by_all():
    board = Switchboard("critic")
    board.bind("critic", named("old"))
    a, b, c = named("a"), named("b"), named("c")
    await board.swap("critic", Fallback(a, b))
    await board.swap("critic", Split({b: 50, c: 50}))
    assert [len(model.requests) for model in (a, b, c)] == [1, 1, 1]


@pytest.mark.parametrize(
    ("text", "specs"),
    [
        ("a:b", ["a:b"]), ("a:b | local | a:b", ["a:b", "local"]),
        ("90% a:b | local + 10% c:d", ["a:b", "local", "c:d"]),
    ],
)  # fmt: skip
def test_the_specs_in_a_string_are_known(text, specs):
    assert specs_in(text) == specs
