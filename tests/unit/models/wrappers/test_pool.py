"""Replicas: a tree keeps to one of them, and goes elsewhere when that fails."""

from collections import Counter

import pytest

from critic_loop.core.errors import AuthFailed, ConfigError, DeadlineExceeded, Refused, Unreachable
from critic_loop.models import resolve
from critic_loop.models.wrappers.pool import Pool
from critic_loop.testing import ScriptedModel, TestServer
from tests.unit.models.conftest import ask

pytestmark = pytest.mark.anyio


def replica(name, reply=None):
    return ScriptedModel(reply or (lambda request: name), spec=name)


async def answers(pool, trees):
    return {tree: (await pool.complete(ask(tree=tree))).text for tree in trees}


TREES = [f"tree {n}" for n in range(200)]


async def test_a_tree_keeps_to_its_replica_and_trees_spread():
    pool = Pool([replica(name) for name in "abc"], spec="pool")
    first = await answers(pool, TREES)
    assert await answers(pool, TREES) == first
    assert min(Counter(first.values()).values()) > 40


async def test_one_that_goes_moves_its_own_trees_only_and_gets_them_back():
    down = []
    pool = Pool(
        [replica("a", lambda r: Unreachable("gone") if down else "a"), replica("b"), replica("c")], spec="pool"
    )
    before = await answers(pool, TREES)
    down.append(True)
    during = await answers(pool, TREES)
    moved = {tree for tree in TREES if before[tree] != during[tree]}
    assert moved == {tree for tree in TREES if before[tree] == "a"}
    assert Counter(during[tree] for tree in moved).keys() == {"b", "c"}
    asked = len(pool._replicas[0].requests)
    await answers(pool, TREES)
    assert len(pool._replicas[0].requests) == asked, "it is left alone"
    down.clear()
    pool._breakers[id(pool._replicas[0])].opens_until = 0.0
    assert await answers(pool, TREES) == before


async def test_requests_without_a_tree_are_spread():
    pool = Pool([replica(name) for name in "ab"], spec="pool")
    said = Counter([(await pool.complete(ask())).text for _ in range(100)])
    assert min(said.values()) > 25


@pytest.mark.parametrize("error", [AuthFailed("wrong key"), Refused("no")])
async def test_what_all_would_say_is_said_once(error):
    replicas = [replica(name, lambda r: error) for name in "ab"]
    with pytest.raises(type(error)):
        await Pool(replicas, spec="pool").complete(ask(tree="t"))
    assert sum(len(one.requests) for one in replicas) == 1


async def test_a_call_whose_time_is_up_is_not_sent_on():
    def late(request):
        return DeadlineExceeded("too late")

    replicas = [replica(name, late) for name in "ab"]
    with pytest.raises(DeadlineExceeded):
        await Pool(replicas, spec="pool").complete(ask(tree="t", timeout_s=0.0))
    assert sum(len(one.requests) for one in replicas) == 1


async def test_when_all_fail_the_last_error_stands():
    with pytest.raises(Unreachable):
        await Pool([replica(n, lambda r: Unreachable("gone")) for n in "ab"], spec="pool").complete(
            ask(tree="t")
        )


async def test_a_spec_with_several_addresses_is_a_pool():
    async with TestServer() as one, TestServer() as other:
        spec = f"vllm:m@{one.url},{other.url}"
        model = resolve(spec)
        assert model.spec == spec
        for tree in TREES[:20]:
            for _ in range(3):
                await model.complete(ask(tree=tree))
        counts = [len(server.requests) for server in (one, other)]
        assert sum(counts) == 60
        assert all(count % 3 == 0 and count for count in counts), "each tree at one server"
        await model.aclose()


def test_each_address_of_a_pool_is_checked():
    with pytest.raises(ConfigError, match="is not the address"):
        resolve("vllm:m@http://a:1,https://")


async def test_all_are_closed_even_if_one_cannot_be():
    class Stuck(ScriptedModel):
        async def aclose(self):
            closed.append(self.spec)
            if self.spec == "a":
                raise OSError("stuck")

    closed = []
    with pytest.raises(OSError, match="stuck"):
        await Pool([Stuck(["x"], spec=name) for name in "abc"], spec="pool").aclose()
    assert closed == ["a", "b", "c"]
