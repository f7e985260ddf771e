"""Whose turn it is, where things go wrong."""

import asyncio

import pytest

from critic_loop.models.vllm.device import Turns

pytestmark = pytest.mark.anyio


class Holder:
    def __init__(self, name, said, tired=True):
        self.name, self.said, self.tired, self.up = name, said, tired, False

    def rouse(self):
        self.said.append(f"{self.name} up")
        self.up = True

    def rest(self):
        if not self.tired:
            raise OSError("not now")
        self.said.append(f"{self.name} down")
        self.up = False


async def hold(turns, holder, until):
    async with turns.of(holder):
        await until.wait()


async def soon(call, then=0.05):
    task = asyncio.create_task(call)
    await asyncio.sleep(then)
    return task


async def test_calls_that_gave_way_to_others_go_on_when_these_have_gone():
    said, done, now = [], asyncio.Event(), asyncio.Event()
    now.set()
    turns = Turns(turn_s=0.01)
    one, other = Holder("one", said), Holder("other", said)
    long = await soon(hold(turns, one, done))
    wants = await soon(hold(turns, other, now))
    waits = await soon(hold(turns, one, now))
    assert not waits.done()
    wants.cancel()
    await asyncio.wait_for(waits, 1)
    done.set()
    await long
    assert said == ["one up"]


async def test_one_that_does_not_give_the_device_back_keeps_it():
    said, now = [], asyncio.Event()
    now.set()
    turns = Turns()
    one, other = Holder("one", said, tired=False), Holder("other", said)
    await hold(turns, one, now)
    for _ in range(2):
        with pytest.raises(OSError, match="not now"):
            await hold(turns, other, now)
    assert said == ["one up"], "never both"
    one.tired = True
    await hold(turns, other, now)
    assert said == ["one up", "one down", "other up"]
