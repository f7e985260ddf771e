"""A window that finds out how many calls an endpoint takes."""

import asyncio
import threading
from contextlib import suppress

import pytest

from critic_loop.core.errors import DeadlineExceeded, ModelError, RateLimited
from critic_loop.core.messages import user
from critic_loop.core.protocols import Completion, Request
from critic_loop.core.records import Choice, Usage
from critic_loop.models import EndpointError, Limited, Retrying
from critic_loop.models.transport.window import Window, window_of
from critic_loop.testing import ScriptedModel, run_virtual

ASK = Request(messages=(user("x"),))
pytestmark = pytest.mark.anyio


class Endpoint:
    """An endpoint on the virtual clock: it refuses, or queues, what is above what it takes."""

    spec = "endpoint"

    def __init__(self, takes, *, seconds=1.0, queues=False, error=None):
        self.takes, self.seconds, self.queues = takes, seconds, queues
        self.error = error or RateLimited("too many")
        self.in_flight = self.refused = self.most = 0
        self.ended = []

    async def complete(self, request):
        if self.in_flight >= self.takes and not self.queues:
            self.refused += 1
            raise self.error
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        try:
            await asyncio.sleep(self.seconds * max(1.0, self.in_flight / self.takes))
        finally:
            self.in_flight -= 1
        self.ended.append(asyncio.get_running_loop().time())
        choice = Choice(message=user("ok"))
        return Completion(choices=(choice,), usage=Usage(output_tokens=20), model="m")

    async def aclose(self):
        pass


async def job(model, *, calls, in_flight):
    """Make so many calls, as a job does that always has more to ask; return what failed."""
    left = iter(range(calls))

    async def worker():
        failed = []
        for _ in left:
            try:
                await model.complete(ASK)
            except ModelError as error:
                failed.append(error)
        return failed

    workers = [worker() for _ in range(in_flight)]
    return [error for failed in await asyncio.gather(*workers) for error in failed]


@pytest.mark.parametrize("takes", [1, 3, 20, 48, 150])
def test_nine_tenths_of_what_an_endpoint_takes_and_nothing_fails(takes):
    endpoint = Endpoint(takes)
    model = Retrying(Limited(endpoint))
    failed = run_virtual(job(model, calls=150 * takes, in_flight=2 * takes + 60))
    assert failed == []
    last = endpoint.ended[-1]
    minute = sum(1 for at in endpoint.ended if last - 70 <= at < last - 10)
    assert minute >= 0.9 * takes * 60
    assert endpoint.refused < 0.15 * len(endpoint.ended) + 60, "each costs a retry"


def test_a_limit_that_moves_is_found_again():
    endpoint = Endpoint(40)
    limited = Limited(endpoint)

    async def main():
        running = asyncio.create_task(job(Retrying(limited), calls=6000, in_flight=100))
        await asyncio.sleep(60)
        endpoint.takes = 10
        await asyncio.sleep(60)
        low = limited.window.limit
        endpoint.takes = 40
        assert await running == []
        return low

    assert run_virtual(main()) < 13
    assert limited.window.limit > 34


def answers_after_an_outage(*, partly=False):
    """Let an endpoint that takes 48 refuse everything for a minute; return answers a second after that."""
    endpoint = Endpoint(48, seconds=2.0, error=EndpointError("x", status=503, transient=True))
    limited = Limited(endpoint)

    async def worker():
        while asyncio.get_running_loop().time() < 300:
            try:
                await limited.complete(ASK)
            except ModelError:
                await asyncio.sleep(1.0)

    async def main():
        running = asyncio.gather(*(worker() for _ in range(120)))
        await asyncio.sleep(120)
        endpoint.takes = 0
        await asyncio.sleep(60)
        assert limited.window.limit == 1
        endpoint.takes, endpoint.refused = 12 if partly else 48, 0
        await running

    run_virtual(main())
    return [sum(1 for at in endpoint.ended if s <= at < s + 20) / 20 for s in range(180, 280, 20)], endpoint


def test_after_an_outage_the_window_is_soon_where_it_was():
    (first, *later), _ = answers_after_an_outage()
    assert first > 0.3 * 24, "the doubling included"
    assert min(later) > 0.9 * 24


def test_an_endpoint_that_takes_less_after_an_outage_is_not_pushed_to_where_it_was():
    (_, *later), endpoint = answers_after_an_outage(partly=True)
    assert min(later) > 0.9 * 6
    assert endpoint.refused < 60


async def burst(errors, *, answered=0):
    """Send 16 calls at once, of which all but so many fail in turn; return the window's limit then."""
    replies = iter([None] * answered + errors * 16)

    async def reply(_):
        error = next(replies)
        await asyncio.sleep(1 if error else 2)
        return error or "ok"

    limited = Limited(ScriptedModel(reply))
    calls = [asyncio.create_task(limited.complete(ASK)) for _ in range(16)]
    await asyncio.sleep(1.5)
    limit = limited.window.limit
    await asyncio.gather(*calls, return_exceptions=True)
    return limit


def test_only_what_says_overload_shrinks_the_window():
    def limit_after(error, **fields):
        return run_virtual(burst([error], **fields))

    assert limit_after(EndpointError("x", status=500, transient=True)) == 16
    assert limit_after(EndpointError("x", status=503, transient=True), answered=14) == 8
    assert limit_after(EndpointError("x", status=529, transient=True), answered=14) == 8


def test_a_burst_of_refusals_shrinks_the_window_once_and_to_what_was_let_in():
    assert run_virtual(burst([RateLimited("too many")], answered=14)) == 8, "half, once, not twice"
    assert run_virtual(burst([RateLimited("too many")], answered=5)) == 5


def test_a_server_that_only_gets_slower_is_not_sent_ever_more():
    endpoint = Endpoint(20, queues=True)
    limited = Limited(endpoint)
    assert run_virtual(job(limited, calls=8000, in_flight=1000)) == []
    assert endpoint.most < 200, "without a bound there would be 1000"
    last = endpoint.ended[-1]
    assert sum(1 for at in endpoint.ended if at > last - 60) >= 0.9 * 20 * 60


def test_a_window_that_is_not_full_does_not_grow():
    limited = Limited(Endpoint(100))
    run_virtual(job(limited, calls=200, in_flight=5))
    assert limited.window.limit == 16


def test_nothing_is_sent_while_the_endpoint_asks_to_hold():
    times = []

    async def reply(_):
        times.append(asyncio.get_running_loop().time())
        choice = Choice(message=user("ok"))
        return Completion(choices=(choice,), hold_s=20.0 if len(times) == 1 else 0.0)

    async def main():
        limited = Limited(ScriptedModel(reply))
        await limited.complete(ASK)
        await asyncio.gather(*(limited.complete(ASK) for _ in range(3)))

    run_virtual(main())
    assert times == [0.0, 20.0, 20.0, 20.0]


def test_all_who_wait_may_be_cancelled_at_once():
    async def main():
        limited = Limited(Endpoint(9), 1)
        calls = [asyncio.create_task(limited.complete(ASK)) for _ in range(4)]
        await asyncio.sleep(0.1)
        for call in calls:
            call.cancel()
        ends = await asyncio.gather(*calls, return_exceptions=True)
        return [type(end) for end in ends], limited.window.in_flight

    assert run_virtual(main()) == ([asyncio.CancelledError] * 4, 0)


async def test_who_waits_goes_on_after_a_hold_that_another_threads_loop_heard_of():
    window = Window(2)

    async def held(_):
        await asyncio.sleep(0.05)
        return Completion(choices=(Choice(message=user("ok")),), hold_s=0.2)

    def elsewhere():
        asyncio.run(Limited(ScriptedModel(held), window).complete(ASK))

    limited = Limited(ScriptedModel(lambda _: "ok", latency_s=0.1), window)
    calls = [asyncio.create_task(limited.complete(ASK))]
    thread = asyncio.create_task(asyncio.to_thread(elsewhere))
    while window.in_flight < 2:
        await asyncio.sleep(0.001)
    calls += [asyncio.create_task(limited.complete(ASK)) for _ in range(3)]
    await thread
    answers = await asyncio.wait_for(asyncio.gather(*calls), 5.0)
    assert [answer.text for answer in answers] == ["ok"] * 4


def test_the_endpoints_time_is_shared_among_the_calls_in_flight():
    async def reply(request):
        await asyncio.sleep(float(request.messages[0].text))
        return "ok"

    async def main():
        limited = Limited(ScriptedModel(reply))
        both = await asyncio.gather(*(limited.complete(Request(messages=(user(s),))) for s in ("1", "3")))
        await asyncio.sleep(5)
        alone = await limited.complete(Request(messages=(user("2"),)))
        return [answer.busy_s for answer in (*both, alone)]

    assert run_virtual(main()) == pytest.approx([0.5, 2.5, 2.0])


def test_who_gives_up_waiting_leaves_its_turn_to_the_next():
    async def main():
        endpoint = Endpoint(9)
        limited = Limited(endpoint, 1)
        first = asyncio.create_task(limited.complete(ASK))
        await asyncio.sleep(0)
        with pytest.raises(DeadlineExceeded, match="had 1 calls in flight"):
            await limited.complete(Request(messages=(user("x"),), timeout_s=0.5))
        cancelled = asyncio.create_task(limited.complete(ASK))
        await asyncio.sleep(0.1)
        cancelled.cancel()
        await first
        await limited.complete(ASK)
        return limited.window.in_flight, len(endpoint.ended)

    assert run_virtual(main()) == (0, 2)


class Several(Endpoint):
    """Sends as many requests for a call as it has texts to weigh."""

    def sends(self, request):
        return len(request.score)

    async def complete(self, request):
        one = super().complete
        return (await asyncio.gather(*(one(text) for text in request.score)))[0]


def weighing(texts):
    return Request(messages=ASK.messages, score=("x",) * texts, choices=texts)


def test_a_call_that_is_several_requests_takes_a_place_for_each():
    endpoint = Several(99)

    async def main():
        limited = Limited(endpoint, 7)
        answers = await asyncio.gather(*(limited.complete(weighing(3)) for _ in range(6)))
        return [answer.busy_s for answer in answers], limited.window.in_flight

    busy, left = run_virtual(main())
    assert (endpoint.most, endpoint.ended, left) == (6, [1.0] * 6 + [2.0] * 6 + [3.0] * 6, 0)
    assert sum(busy) == pytest.approx(3.0), "the endpoint's time, shared out"


def test_a_call_of_more_requests_than_there_are_places_goes_alone_and_in_its_turn():
    endpoint = Several(99)

    async def main():
        limited = Limited(endpoint, 4)
        calls = [limited.complete(weighing(texts)) for texts in (2, 9, 1)]
        await asyncio.gather(*calls)

    run_virtual(main())
    assert (endpoint.most, endpoint.ended) == (9, [1.0] * 2 + [2.0] * 9 + [3.0])


def test_a_wide_call_that_gives_up_waiting_lets_a_narrow_one_through():
    async def main():
        limited = Limited(Several(99, seconds=5.0), 4)
        first = asyncio.create_task(limited.complete(weighing(2)))
        wide = asyncio.create_task(limited.complete(weighing(4)))
        narrow = asyncio.create_task(limited.complete(weighing(2)))
        await asyncio.sleep(1)
        wide.cancel()
        await asyncio.gather(first, narrow)
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) == 6.0


def test_a_window_that_is_full_of_wide_calls_grows():
    limited = Limited(Several(24))
    run_virtual(wide_job(limited))
    assert limited.window.limit > 20


async def wide_job(limited):
    async def worker():
        for _ in range(40):
            with suppress(ModelError):
                await limited.complete(weighing(3))

    await asyncio.gather(*(worker() for _ in range(20)))


async def test_one_endpoint_has_one_window_for_models_and_threads():
    window = window_of("http://a/v1", "KEY")
    assert window_of("http://a/v1", "KEY") is window
    assert window_of("http://b/v1", "KEY") is not window
    most, seen, lock = 0, 0, threading.Lock()

    async def reply(_):
        nonlocal most, seen
        with lock:
            seen += 1
            most = max(most, seen)
        await asyncio.sleep(0.01)
        with lock:
            seen -= 1
        return "ok"

    shared = Window(2)

    def elsewhere():
        async def main():
            limited = Limited(ScriptedModel(reply), shared)
            await asyncio.gather(*(limited.complete(ASK) for _ in range(10)))

        asyncio.run(main())

    await asyncio.gather(*(asyncio.to_thread(elsewhere) for _ in range(3)))
    assert (most, shared.in_flight) == (2, 0)


@pytest.mark.parametrize("most", [0, -1])
def test_a_window_lets_one_through_at_least(most):
    with pytest.raises(ValueError, match="at least 1"):
        Window(most)
