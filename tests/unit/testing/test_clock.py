"""Virtual time: free, ordered, and real where it must be."""

import asyncio
import time

import pytest

from critic_loop.testing import VirtualLoop, run_virtual


def test_an_hour_costs_nothing():
    async def main():
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time()

    started = time.perf_counter()
    assert run_virtual(main()) == 3600
    assert time.perf_counter() - started < 3600


def test_sleepers_wake_in_order_of_time_then_of_falling_asleep():
    woken = []

    async def sleeper(name, seconds):
        await asyncio.sleep(seconds)
        woken.append((name, asyncio.get_running_loop().time()))

    async def main():
        await asyncio.gather(sleeper("a", 2), sleeper("b", 1), sleeper("c", 2), sleeper("d", 0.5))

    run_virtual(main())
    assert woken == [("d", 0.5), ("b", 1), ("a", 2), ("c", 2)]


def test_deadlines_fire():
    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.sleep(10)
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) == 5


def test_threads_are_waited_for_when_no_timer_is_set():
    async def main():
        return await asyncio.to_thread(lambda: time.sleep(0.02) or "done")

    assert run_virtual(main()) == "done"


def test_patience_lets_threads_finish_before_time_jumps():
    async def main():
        async with asyncio.timeout(60):
            await asyncio.to_thread(time.sleep, 0.02)
        return asyncio.get_running_loop().time()

    assert run_virtual(main(), patience_s=1.0) == 0


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", [("asyncio", {"loop_factory": VirtualLoop})], indirect=False)
async def test_it_serves_as_anyios_loop(anyio_backend):
    before = asyncio.get_running_loop().time()
    await asyncio.sleep(100)
    assert asyncio.get_running_loop().time() - before == 100
