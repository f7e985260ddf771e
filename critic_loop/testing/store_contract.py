"""Contract tests of stores, to run over your own store.

    class TestMine(StoreContract):
        @pytest.fixture
        async def store(self) -> AsyncIterator[Store]:
            store = MyStore(...)
            yield store
            await store.aclose()

Knows the `Store` protocol. Does not know any store. The fixture `again` opens the same store once more, as
another process would; a store that cannot be opened twice does not override it. Needs pytest with anyio's
plugin.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from critic_loop.core.errors import ConfigError, NoSuchAttempt, NoSuchTree, StoreError
from critic_loop.core.listing import TreeInfo, TreePage, TreeQuery, TreeState
from critic_loop.core.messages import Image, assistant, user
from critic_loop.core.protocols import Store
from critic_loop.core.records import (
    SCHEMA_VERSION,
    Ask,
    Attempt,
    Event,
    Feedback,
    Head,
    Outcome,
    Record,
    Subject,
    Task,
)
from critic_loop.testing.trees import ALL

T = TypeVar("T")


def head(tree: str, *, recipe: str = "refine", text: str = "Do it.", tags: tuple[str, ...] = ()) -> Head:
    """Return the head of a small tree."""
    return Head(
        tree=tree,
        task=Task(prompt=(user(text),), tags=tags),
        recipe=recipe,
        recipe_digest="d",
        key="k",
        created_at=1.0,
    )


def move(tree: str, number: int, *parents: int, text: str = "") -> tuple[Ask, Attempt]:
    """Return the ask and the attempt of a move."""
    attempt, above = f"{tree}.{number}", tuple(f"{tree}.{parent}" for parent in parents)
    messages = (assistant(text or f"answer {number}", sampled=True),)
    return Ask(attempt=attempt, parents=above), Attempt(id=attempt, parents=above, messages=messages)


def elsewhere(work: Callable[[], Awaitable[T]]) -> Awaitable[T]:
    """Run `work` in another event loop, in a thread."""

    async def call() -> T:
        return await work()

    return asyncio.to_thread(lambda: asyncio.run(call()))


async def listed(store: Store, *, recipe: str | None = None, task: str | None = None) -> list[TreeInfo]:
    """Return the listing."""
    return [info async for info in store.trees(recipe=recipe, task=task)]


@pytest.mark.anyio
class StoreContract:
    """Override `store`; also `again`, where the store can be opened twice."""

    @pytest.fixture
    def anyio_backend(self) -> str:
        """Run under asyncio."""
        return "asyncio"

    @pytest.fixture
    def again(self, store: Store) -> Callable[[], Store]:
        """Return a function that opens the same store once more."""
        return lambda: store

    async def test_keeps_the_order_of_calls(self, store: Store) -> None:
        """The records of a tree are in the order of `append` calls, durable or not."""
        await store.append("t", head("t"))
        events = [Event(kind="swap", at=float(n), text=str(n)) for n in range(200)]
        await asyncio.gather(*(store.append("t", e, durable=n % 7 == 0) for n, e in enumerate(events)))
        assert (await store.load("t")).events == events

    async def test_several_records_at_once(self, store: Store) -> None:
        """One append may have many records, including the head."""
        records: tuple[Record, ...] = (head("t"), *move("t", 1), *move("t", 2, 1))
        await store.append("t", *records)
        tree = await store.load("t")
        assert tuple(tree.log) == records
        assert tree.path("t.2") == ("t.1", "t.2")

    async def test_durable_is_seen_by_others(self, store: Store, again: Callable[[], Store]) -> None:
        """Records of a durable append are there when the store is opened again."""
        await store.append("t", head("t"), durable=False)
        await store.append("t", *move("t", 1), durable=False)
        await store.append("t", Outcome(chosen="t.1", stop="verified"))
        other = again()
        assert [type(r).__name__ for r in (await other.load("t")).log] == ["Head", "Ask", "Attempt", "Outcome"]
        if other is not store:
            await other.aclose()

    async def test_reads_what_was_only_queued(self, store: Store) -> None:
        """A load returns all records appended before, durable or not."""
        await store.append("t", head("t"), durable=False)
        assert await store.has("t")
        assert (await store.load("t")).head == head("t")

    @pytest.mark.parametrize("name", ALL)
    async def test_every_fixture_tree_comes_back(self, store: Store, name: str) -> None:
        """Every record of the fixture trees is restored exactly."""
        tree = ALL[name]()
        for record in tree.log:
            await store.append(tree.id, record, durable=False)
        loaded = await store.load(tree.id)
        assert loaded.log == tree.log

    async def test_unknown_tree(self, store: Store) -> None:
        """Loading or extending a tree that does not exist raises `NoSuchTree`."""
        assert not await store.has("none")
        with pytest.raises(NoSuchTree, match="no tree 'none'"):
            await store.load("none")
        with pytest.raises(NoSuchTree, match="no tree 'none'"):
            await store.append("none", move("none", 1)[0])
        with pytest.raises(NoSuchTree, match="no tree 'none'"):
            await store.add_feedback("none.1", Feedback.user(score=1.0))
        assert await listed(store) == []

    async def test_second_head(self, store: Store) -> None:
        """A second head is rejected and does not change the tree."""
        await store.append("t", head("t"))
        with pytest.raises(StoreError, match="has a head already"):
            await store.append("t", head("t"))
        with pytest.raises(StoreError, match="has a head already"):
            await store.append("t", move("t", 1)[0], head("t"))
        await store.append("t", *move("t", 1))
        assert len((await store.load("t")).log) == 3

    async def test_head_of_another_tree(self, store: Store) -> None:
        """A head of another tree is rejected."""
        with pytest.raises(StoreError, match="head of tree 'a' was given for tree 'b'"):
            await store.append("b", head("a"))
        assert not await store.has("a")
        assert not await store.has("b")

    async def test_nothing_to_append(self, store: Store) -> None:
        """An append without records does nothing."""
        await store.append("t", head("t"))
        await store.append("t")
        assert len((await store.load("t")).log) == 1

    async def test_newer_records_are_refused(self, store: Store) -> None:
        """Loading a tree of a newer schema version raises an error that names the version."""
        newer = head("t").model_copy(update={"schema_version": SCHEMA_VERSION + 1})
        await store.append("t", newer)
        with pytest.raises(StoreError, match=f"newer critic_loop.*schema {SCHEMA_VERSION + 1}"):
            await store.load("t")

    async def test_feedback_later_on(self, store: Store) -> None:
        """Late feedback gets an id and a subject, and is in the tree from then on."""
        await store.append("t", head("t"), *move("t", 1), *move("t", 2))
        added = await store.add_feedback("t.1", Feedback.user(score=0.0, text="wrong file"))
        assert added.subject == Subject.of("t.1")
        assert added.id.startswith("t.u")
        reply = await store.add_feedback(added.id, Feedback(source="human", author="ann", text="Not so."))
        pair = Feedback(author="ann", subject=Subject.of("t.1", "t.2"), preference=(1.0, 0.0))
        both = await store.add_feedback("t.1", pair)
        tree = await store.load("t")
        assert tree.about("t.1") == (added, both)
        assert tree.about(added.id) == (reply,)

    async def test_feedback_while_a_run_writes(self, store: Store) -> None:
        """A run and late feedback do not conflict, in whatever order they arrive."""
        await store.append("t", head("t"), *move("t", 1))
        tree = await store.load("t")

        async def run() -> None:
            for number in range(2, 40):
                feedback = Feedback(id=tree.next_feedback_id(), subject=Subject.of("t.1"), text=str(number))
                tree.append(feedback)
                await store.append("t", *move("t", number, 1), feedback, durable=number % 3 == 0)

        async def users() -> list[Feedback]:
            return [await store.add_feedback("t.1", Feedback.user(score=1.0)) for _ in range(20)]

        _, late = await asyncio.gather(run(), users())
        loaded = await store.load("t")
        assert len(loaded) == 39
        assert [f for f in loaded.about("t.1") if f.source == "user"] == late
        assert [f.text for f in loaded.about("t.1") if f.source != "user"] == [str(n) for n in range(2, 40)]
        assert loaded.next_feedback_id() not in loaded.feedback

    async def test_feedback_on_what_is_not_there(self, store: Store) -> None:
        """Feedback on an unknown attempt or feedback is rejected, and the tree can still be loaded."""
        await store.append("t", head("t"), *move("t", 1))
        for about, feedback in (
            ("t.9", Feedback()),
            ("t.f9", Feedback()),
            ("t.1", Feedback(supersedes="t.f9")),
            ("t.1", Feedback(rests_on=("t.f9",))),
            ("t.1", Feedback(subject=Subject.of("t.1", "t.9"), preference=(0.5, 0.5))),
        ):
            with pytest.raises(NoSuchAttempt, match=r"'t' has no 't\.f?9'"):
                await store.add_feedback(about, feedback.model_copy(update={"author": "ann"}))
        assert len((await store.load("t")).log) == 3

    async def test_feedback_without_an_author(self, store: Store) -> None:
        """Late feedback without an author is rejected."""
        await store.append("t", head("t"), *move("t", 1))
        with pytest.raises(ConfigError, match="has no author"):
            await store.add_feedback("t.1", Feedback.passed())
        assert len((await store.load("t")).log) == 3

    async def test_listing(self, store: Store) -> None:
        """The listing has numbers of attempts and stop reasons, oldest first, and can be filtered."""
        await store.append("a", head("a", recipe="refine", text="one"))
        await store.append("b", head("b", recipe="sample", text="two"), *move("b", 1))
        ask, attempt = move("b", 2)
        parked = attempt.model_copy(update={"status": "parked"})
        await store.append("b", ask, parked, parked, attempt)
        await store.append("b", Outcome(chosen="b.2", stop="verified"))
        a, b = await listed(store)
        assert a == TreeInfo(id="a", task=head("a", text="one").task.id, title="one", recipe="refine",
                             created_at=1.0, attempts=0, stop=None)  # fmt: skip
        assert (b.id, b.attempts, b.stop) == ("b", 2, "verified")
        assert await listed(store, recipe="sample") == [b]
        assert await listed(store, task=a.task) == [a]
        assert await listed(store, recipe="sample", task=a.task) == []

    async def test_long_listing(self, store: Store) -> None:
        """A listing is complete, however many trees there are."""
        names = [f"t{n}" for n in range(1203)]
        await asyncio.gather(*(store.append(name, head(name)) for name in names))
        assert [info.id for info in await listed(store)] == names

    async def test_finding_trees(self, store: Store) -> None:
        """A query finds trees by recipe, task, tag and state, all that are given, newest first."""
        for name, recipe, text, tags in (
            ("a", "refine", "\n one\nmore", ("easy", "it's 100 %")),
            ("b", "sample", "two", ()),
            ("c", "refine", "two", ("easy", "slow")),
        ):
            await store.append(name, head(name, recipe=recipe, text=text, tags=tags), *move(name, 1))
        await store.append("a", Outcome(chosen="a.1", stop="verified"))
        await store.append("b", Outcome(stop="parked"))

        async def found(query: TreeQuery) -> list[str]:
            page = await store.find(query)
            assert (page.total, page.more) == (len(page.trees), False)
            return [info.id for info in page.trees]

        _, task_b, task_c = [info.task for info in await listed(store)]
        assert await found(TreeQuery()) == ["c", "b", "a"]
        assert await found(TreeQuery(recipe="refine")) == ["c", "a"]
        assert await found(TreeQuery(task=task_b)) == ["b"]
        assert await found(TreeQuery(tag="easy")) == ["c", "a"]
        assert await found(TreeQuery(tag="it's 100 %")) == ["a"]
        assert await found(TreeQuery(tag="eas")) == [], "a tag is found as a whole"
        states: tuple[tuple[TreeState, str], ...] = (("ended", "a"), ("parked", "b"), ("unfinished", "c"))
        for state, name in states:
            assert await found(TreeQuery(state=state)) == [name]
        assert await found(TreeQuery(state="interrupted")) == []
        assert await found(TreeQuery(task=task_c, tag="slow")) == ["c"]
        assert await found(TreeQuery(task=task_b, tag="slow")) == []
        assert await found(TreeQuery(tag="slow", state="ended")) == []
        c, _, a = (await store.find(TreeQuery())).trees
        assert (a.title, a.tags, a.state, c.tags) == ("one", ("easy", "it's 100 %"), "ended", ("easy", "slow"))

    async def test_a_tree_that_goes_on_is_unfinished(self, store: Store) -> None:
        """After a new ask the earlier outcome is no longer the tree's."""
        await store.append("t", head("t"), *move("t", 1), Outcome(stop="parked"))
        await store.append("t", *move("t", 2))
        (info,) = await listed(store)
        assert (info.stop, info.state) == (None, "unfinished")
        for by_hand in ("interrupted", "stopped"):
            await store.append("t", Outcome(stop=by_hand))
            assert [t.id for t in (await store.find(TreeQuery(state="interrupted"))).trees] == ["t"]
            assert (await store.find(TreeQuery(state="ended"))).trees == ()

    async def test_a_limit_below_one_is_refused(self) -> None:
        """No store has to decide what a page of no trees is."""
        with pytest.raises(ConfigError, match="at least 1"):
            TreeQuery(limit=0)

    async def test_pages(self, store: Store) -> None:
        """Pages follow each other without gap or repetition, while new trees arrive."""
        names = [f"t{n}" for n in range(10)]
        for number, name in enumerate(names):
            await store.append(name, head(name, tags=("even",) if number % 2 == 0 else ()))
        first = await store.find(TreeQuery(limit=4))
        assert ([i.id for i in first.trees], first.total, first.more) == (["t9", "t8", "t7", "t6"], 10, True)
        await store.append("new", head("new"))
        last = first.trees[-1].id
        second: TreePage = await store.find(TreeQuery(limit=4, before=last))
        assert ([i.id for i in second.trees], second.total, second.more) == (["t5", "t4", "t3", "t2"], 11, True)
        third = await store.find(TreeQuery(limit=4, before="t2"))
        assert ([i.id for i in third.trees], third.more) == (["t1", "t0"], False)
        even = await store.find(TreeQuery(limit=2, before="t5", tag="even"))
        assert ([i.id for i in even.trees], even.total, even.more) == (["t4", "t2"], 5, True)
        with pytest.raises(NoSuchTree):
            await store.find(TreeQuery(before="nothing"))

    async def test_bytes_are_restored(self, store: Store) -> None:
        """Bytes are restored for every part with their hash, even if that part was appended without them."""
        picture = Image.of(bytes(range(256)) * 300, "image/png")
        bare = picture.model_copy(update={"data": None})
        unknown = Image(sha256="0" * 64, media_type="image/png")
        shown = Ask(attempt="t.1"), Attempt(id="t.1", messages=(user("see", bare, unknown),))
        begin = Head(
            tree="t", task=Task(prompt=(user(picture),)), recipe="r", recipe_digest="", key="k", created_at=0.0
        )
        await store.append("t", begin, *shown)
        tree = await store.load("t")
        assert tree.task.prompt[0].blobs == (picture,)
        assert tree["t.1"].messages[0].blobs == (picture, unknown)

    async def test_many_trees_at_once(self, store: Store) -> None:
        """Trees that are written concurrently do not mix."""

        async def grow(name: str) -> None:
            await store.append(name, head(name), durable=False)
            for number in range(1, 9):
                await store.append(name, *move(name, number, text=f"{name} {number} " * 30))

        names = [f"t{n}" for n in range(32)]
        await asyncio.gather(*(grow(name) for name in names))
        for name in names:
            tree = await store.load(name)
            assert [a.messages[0].text for a in tree] == [f"{name} {n} " * 30 for n in range(1, 9)]

    async def test_several_event_loops(self, store: Store) -> None:
        """A store can be used from several event loops in several threads."""

        async def grow(name: str) -> int:
            await store.append(name, head(name))
            for number in range(1, 20):
                await store.append(name, *move(name, number), durable=number % 2 == 0)
            return len(await store.load(name))

        works = [elsewhere(lambda name=name: grow(name)) for name in ("a", "b")]
        assert await asyncio.gather(*works, grow("c")) == [19, 19, 19]

    async def test_cancelled_waiter(self, store: Store) -> None:
        """A cancelled append does not affect others."""
        await store.append("t", head("t"))
        task = asyncio.ensure_future(store.append("t", *move("t", 1)))
        await asyncio.sleep(0)
        task.cancel()
        await store.append("t", *move("t", 2))
        await asyncio.gather(task, return_exceptions=True)
        assert "t.2" in await store.load("t")

    async def test_loads_are_their_own(self, store: Store) -> None:
        """Changing a loaded tree changes neither the store nor another loaded tree."""
        await store.append("t", head("t"), *move("t", 1))
        (await store.load("t")).append(move("t", 2)[0])
        assert len((await store.load("t")).log) == 3

    async def test_huge_tree(self, store: Store) -> None:
        """A tree of 10,000 attempts can be written and loaded."""
        await store.append("t", head("t"), durable=False)
        for number in range(1, 10_001):
            above = (number // 2,) if number > 1 else ()
            await store.append("t", *move("t", number, *above), durable=False)
        tree = await store.load("t")
        assert len(tree) == 10_000
        assert tree.depth("t.10000") == 13
        (info,) = await listed(store)
        assert info.attempts == 10_000
