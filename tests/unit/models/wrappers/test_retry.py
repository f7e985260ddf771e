"""Retries under virtual time: how often, how long, and when not."""

import asyncio

import pytest

from critic_loop.core.errors import (
    AuthFailed,
    ContextOverflow,
    CreditExhausted,
    DeadlineExceeded,
    ModelError,
    RateLimited,
    Refused,
    Unreachable,
)
from critic_loop.core.messages import user
from critic_loop.core.protocols import Request
from critic_loop.models import ChatModel, EndpointError, Limited, NoSuchModel, Retrying, RetryPolicy
from critic_loop.testing import Fault, ScriptedModel, TestServer, run_virtual
from tests.unit.models.conftest import ask


def trouble(text="500"):
    return EndpointError(text, transient=True)


def run(replies, *, request=None, **policy):
    """Complete once under virtual time; return the text or the error, the sends, and the seconds."""
    model = ScriptedModel(replies)

    async def main():
        try:
            outcome = (await Retrying(model, RetryPolicy(**policy)).complete(request or ask())).text
        except ModelError as error:
            outcome = error
        return outcome, len(model.requests), asyncio.get_running_loop().time()

    return run_virtual(main())


def test_a_good_answer_is_sent_once_and_at_once():
    assert run(["yes"]) == ("yes", 1, 0.0)


def test_waits_grow_within_their_bounds():
    outcome, sends, seconds = run([trouble("a"), trouble("b"), trouble("c"), "yes"], first_wait_s=1.0)
    assert (outcome, sends) == ("yes", 4)
    assert (1 + 2 + 4) / 2 <= seconds <= 1 + 2 + 4


def test_jitter_is_seeded():
    replies = [trouble("a"), trouble("b"), "yes"]
    assert run(replies) == run(replies)
    assert run(replies)[2] != run(replies, seed=1)[2]


def test_calls_that_fail_together_do_not_return_together():
    times = []

    def handler(_):
        now = asyncio.get_running_loop().time()
        times.append(now)
        return "yes" if now > 0 else RateLimited("slow down", retry_after_s=10.0)

    async def main():
        model = Retrying(ScriptedModel(handler))
        await asyncio.gather(*[model.complete(ask()) for _ in range(10)])

    run_virtual(main())
    late = [time for time in times if time > 0]
    assert len(set(late)) == 10
    assert all(10.0 <= time <= 11.0 for time in late)


def test_retry_after_is_kept_and_capped():
    limited = RateLimited("slow down", retry_after_s=20.0)
    assert 20.0 <= run([limited, "yes"])[2] <= 22.0
    assert run([limited, "yes"], longest_wait_s=5.0)[2] == 5.0


def test_attempts_are_counted():
    errors = [RateLimited("slow down") for _ in range(9)]
    outcome, sends, _ = run(errors, attempts=5)
    assert outcome is errors[4]
    assert sends == 5


def test_one_attempt_means_no_retry():
    outcome, sends, _ = run([trouble()], attempts=1)
    assert isinstance(outcome, EndpointError)
    assert sends == 1


def test_the_same_error_again_and_again_is_no_accident():
    outcome, sends, _ = run([trouble(f"500, request {i}") for i in range(9)], attempts=100, same_error=3)
    assert isinstance(outcome, EndpointError)
    assert sends == 3


def test_different_errors_are_borne_longer():
    outcome, sends, _ = run([trouble("aabbcc"[i]) for i in range(6)] + ["yes"], same_error=3)
    assert (outcome, sends) == ("yes", 7)


def test_an_absent_server_is_tried_few_times():
    outcome, sends, _ = run([Unreachable(f"nobody {i}") for i in range(9)], unreachable=3)
    assert isinstance(outcome, Unreachable)
    assert sends == 3


@pytest.mark.parametrize(
    "error",
    [
        AuthFailed("401"), ContextOverflow("long"), CreditExhausted("402"), DeadlineExceeded("slow"),
        ModelError("other"), NoSuchModel("404"), Refused("no"), EndpointError("400", status=400),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_what_will_not_pass_is_raised_at_once(error):
    assert run([error, "yes"]) == (error, 1, 0.0)


def test_the_deadline_holds_over_all_attempts():
    errors = [trouble("ab"[i % 2]) for i in range(50)]
    outcome, sends, seconds = run(errors, request=ask(timeout_s=10.0), attempts=50, first_wait_s=1.0)
    assert isinstance(outcome, EndpointError)
    assert 3 < sends < 10
    assert seconds <= 10.0


def test_a_wait_beyond_the_deadline_is_not_begun():
    limited = RateLimited("slow down", retry_after_s=30.0)
    assert run([limited], request=ask(timeout_s=10.0)) == (limited, 1, 0.0)


def test_each_attempt_gets_the_time_that_is_left():
    model = ScriptedModel([trouble(), "yes"])

    async def main():
        await Retrying(model).complete(ask(timeout_s=10.0))
        return asyncio.get_running_loop().time()

    passed = run_virtual(main())
    first, second = (request.timeout_s for request in model.requests)
    assert first == 10.0
    assert second == pytest.approx(10.0 - passed)


def test_cancellation_ends_the_waiting():
    async def main():
        model = Retrying(ScriptedModel([RateLimited("slow down", retry_after_s=30.0)]))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(model.complete(ask()), 1.0)
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) == pytest.approx(1.0)


def test_programming_errors_pass():
    async def main():
        await Retrying(ScriptedModel([KeyError("bug")])).complete(ask())

    with pytest.raises(KeyError):
        run_virtual(main())


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("faults", "requests"),
    [
        ([], 1),
        ([Fault("rate_limit", retry_after_s=0.01)], 2),
        ([Fault("server_error"), Fault("unavailable"), Fault("cut")], 4),
        ([Fault("drop"), Fault("broken_json")], 3),
    ],
)
async def test_faults_that_pass_are_survived(faults, requests):
    async with TestServer(faults=faults) as server:
        model = Retrying(ChatModel("m", url=server.url), RetryPolicy(first_wait_s=0.001))
        assert (await model.complete(ask())).text
        await model.aclose()
    assert len(server.requests) == requests
    assert len(server.log.counts) == 1


def test_a_limit_holds_and_keeps_the_order():
    running, most, order = 0, 0, []

    async def handler(request):
        nonlocal running, most
        running += 1
        most = max(most, running)
        order.append(request.messages[0].text)
        await asyncio.sleep(1)
        running -= 1
        return "yes"

    async def main():
        model = Limited(ScriptedModel(handler), 3)
        await asyncio.gather(*[model.complete(Request(messages=(user(str(i)),))) for i in range(9)])
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) == pytest.approx(3.0)
    assert most == 3
    assert order == [str(i) for i in range(9)]


def test_waiting_for_a_turn_counts_against_the_deadline():
    inner = ScriptedModel(lambda _: "yes", latency_s=2.0)

    async def main():
        model = Limited(inner, 1)
        calls = [model.complete(ask(timeout_s=t)) for t in (3.0, 5.0, 3.0)]
        return await asyncio.gather(*calls, return_exceptions=True)

    first, second, third = run_virtual(main())
    assert (first.text, second.text) == ("yes", "yes")
    assert isinstance(third, DeadlineExceeded)
    assert "not sent" in str(third)
    assert inner.requests[1].timeout_s == pytest.approx(3.0)


def test_a_waiting_retry_holds_no_place():
    async def main():
        limited = Limited(ScriptedModel([RateLimited("slow down", retry_after_s=30.0), "b", "a"]), 1)
        model = Retrying(limited)
        first = asyncio.create_task(model.complete(ask()))
        await asyncio.sleep(1)
        await model.complete(ask())
        between = asyncio.get_running_loop().time()
        await first
        return between

    assert run_virtual(main()) == pytest.approx(1.0)


def test_a_limit_is_at_least_one():
    with pytest.raises(ValueError, match="at least 1"):
        Limited(ScriptedModel([]), 0)


def test_who_can_ask_another_does_not_wait_long():
    limited = RateLimited("slow down", retry_after_s=30.0)
    assert run([limited, "yes"], request=ask(retries=1)) == (limited, 1, 0.0)
    assert run([RateLimited("slow down", retry_after_s=1.0), "yes"], request=ask(retries=1))[1] == 2
    errors = [RateLimited("slow down") for _ in range(3)]
    assert run(errors, request=ask(retries=1))[:2] == (errors[1], 2)
