"""Every store keeps what `StoreContract` promises."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from critic_loop.core.errors import StoreError
from critic_loop.core.protocols import Store
from critic_loop.core.records import Call, Feedback, Outcome, Place, Subject
from critic_loop.store import MemoryStore, SqliteStore, open_store
from critic_loop.testing.store_contract import StoreContract, head, move


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self) -> Store:
        return MemoryStore()


class TestSqliteStore(StoreContract):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[Store]:
        store = open_store(f"sqlite:///{tmp_path / 'trees.db'}")
        yield store
        await store.aclose()
        assert names(tmp_path) <= {"trees.db"}, "the log is folded into the file on closing"

    @pytest.fixture
    def again(self, store: Store, tmp_path: Path) -> Callable[[], Store]:
        return lambda: SqliteStore(tmp_path / "trees.db")


def call(number: int) -> Call:
    place = Place(subject=("t.1",), agent="a")
    return Call(id=f"t.c{number}", place=place, digest="d", request=(), binding="b", sent_at=0.0)


@pytest.mark.anyio
@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("reopened", [False, True])
@pytest.mark.parametrize("where", ["memory", "trees.db"])
async def test_what_does_not_go_on_with_a_tree_is_refused_before_it_is_written(
    where: str, reopened: bool, durable: bool, tmp_path: Path
) -> None:
    store = open_store(where if where == "memory" else tmp_path / where)
    said = Feedback(id="t.f1", subject=Subject.of("t.1"))
    parked = move("t", 2)[1].model_copy(update={"status": "parked"})
    await store.append("t", head("t"), *move("t", 1), call(1), said, move("t", 2)[0], parked)
    if reopened:
        await store.append("t", Outcome(stop="parked"))  # ids are forgotten with the outcome
    if reopened and where != "memory":
        await store.aclose()
        store = open_store(tmp_path / where)
    for again, name in (
        (move("t", 1)[0], "t.1"), (move("t", 1)[1], "t.1"), (call(1), "t.c1"), (said, "t.f1"),
    ):  # fmt: skip
        with pytest.raises(StoreError, match=f"'{name}'"):
            await store.append("t", move("t", 3)[0], parked, again, durable=durable)
    await store.append("t", *move("t", 3), parked, move("t", 2)[1], call(2), durable=durable)
    late = await store.add_feedback("t.1", Feedback.user(score=1.0))
    tree = await store.load("t")
    assert ([*tree.attempts], [*tree.calls], late.id in tree.feedback) == (
        ["t.1", "t.2", "t.3"], ["t.c1", "t.c2"], True,
    )  # fmt: skip
    await store.aclose()
