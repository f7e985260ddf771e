"""`show STORE` lists the trees of a store, finds some of them, and pages."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from critic_loop.cli.schemas import schemas
from critic_loop.core.messages import user
from critic_loop.core.records import Ask, Attempt, Head, Outcome, Record, Task
from critic_loop.store import open_store
from tests.cli.conftest import Cli

TREES = 45
STOPS = ("verified", "parked", None, "interrupted", "budget")


def records(number: int) -> list[Record]:
    name = f"t{number:02}"
    tags = ("even",) if number % 2 == 0 else ()
    task = Task(id=f"sum-{number % 3}", prompt=(user(f"Add {number}.\nThen stop."),), tags=tags)
    recipe = "refine" if number < 40 else "sample"
    head = Head(tree=name, task=task, recipe=recipe, recipe_digest="d", key="k", created_at=60.0 * number)
    made: list[Record] = [head, Ask(attempt=f"{name}.1"), Attempt(id=f"{name}.1", answer="1")]
    stop = STOPS[number % len(STOPS)]
    return made if stop is None else [*made, Outcome(stop=stop)]


@pytest.fixture
def store(cli: Cli) -> str:
    async def write() -> None:
        opened = open_store("many.db")
        for number in range(TREES):
            await opened.append(f"t{number:02}", *records(number))
        await opened.aclose()

    asyncio.run(write())
    return "many.db"


def document(cli: Cli, store: str, *options: str) -> Any:
    ended = cli("show", store, *options, "--json")
    assert ended.code == 0, ended.err
    Draft202012Validator(schemas()["show-list"]).validate(ended.json)
    return ended.json


def found(cli: Cli, store: str, *options: str) -> list[str]:
    return [tree["id"] for tree in document(cli, store, *options)["trees"]]


def test_the_list_holds_what_tells_trees_apart(cli: Cli, store: str) -> None:
    listed = document(cli, store, "--limit", "2")
    assert (listed["store"], listed["total"], listed["next"]) == ("sqlite:///many.db", TREES, "t43")
    assert listed["trees"][0] == {
        "id": "t44",
        "task": "sum-2",
        "title": "Add 44.",
        "tags": ["even"],
        "recipe": "sample",
        "created_at": 2640.0,
        "attempts": 1,
        "state": "ended",
        "stop": "budget",
    }


def test_a_person_gets_a_table_and_the_command_for_the_next_page(cli: Cli, store: str) -> None:
    ended = cli("show", store, "--limit", "3")
    assert ended.code == 0
    header, *rows = ended.out.splitlines()
    assert header.split() == ["tree", "begun", "recipe", "attempts", "stopped", "task"]
    assert [row.split()[0] for row in rows] == ["t44", "t43", "t42"]
    assert rows[0].rstrip().endswith("sample         1  budget       Add 44.  #even")
    assert rows[2].split()[-4:] == ["unfinished", "Add", "42.", "#even"]
    assert "3 of 45 trees" in ended.err
    assert "--before t42" in ended.err


def test_ids_are_shown_whole_where_texts_are_long(cli: Cli) -> None:
    tree_id = "t0123456789abcdef"

    async def write() -> None:
        opened, (head, *_) = open_store("long.db"), records(0)
        task = head.task.model_copy(
            update={"prompt": (user("Add these numbers. " * 20),), "tags": ("t" * 30,) * 3}
        )
        named = {"tree": tree_id, "task": task, "recipe": "a-recipe-with-quite-a-long-name"}
        await opened.append(tree_id, head.model_copy(update=named))
        await opened.aclose()

    asyncio.run(write())
    _, row = cli("show", "long.db", "--state", "unfinished").out.splitlines()
    assert row.startswith(f"{tree_id}  ")


def test_pages_hold_each_tree_once(cli: Cli, store: str) -> None:
    seen: list[str] = []
    options: list[str] = []
    while True:
        page = document(cli, store, *options)
        seen += [tree["id"] for tree in page["trees"]]
        if page["next"] is None:
            break
        options = ["--before", page["next"]]
    assert seen == [f"t{number:02}" for number in reversed(range(TREES))]


def test_trees_are_found_by_task_tag_state_and_recipe(cli: Cli, store: str) -> None:
    assert found(cli, store, "--recipe", "sample") == ["t44", "t43", "t42", "t41", "t40"]
    assert found(cli, store, "--task", "sum-1", "--limit", "3") == ["t43", "t40", "t37"]
    assert found(cli, store, "--tag", "even", "--limit", "2") == ["t44", "t42"]
    assert found(cli, store, "--state", "unfinished", "--limit", "2") == ["t42", "t37"]
    assert found(cli, store, "--state", "parked", "--limit", "1") == ["t41"]
    assert found(cli, store, "--state", "interrupted", "--limit", "1") == ["t43"]
    assert found(cli, store, "--state", "ended", "--tag", "even", "--before", "t30") == [
        "t24", "t20", "t14", "t10", "t04", "t00",
    ]  # fmt: skip
    assert found(cli, store, "--tag", "odd") == []


def test_a_filter_lists_even_the_only_tree(cli: Cli) -> None:
    async def write() -> None:
        opened = open_store("one.db")
        await opened.append("t00", *records(0))
        await opened.aclose()

    asyncio.run(write())
    assert cli("show", "one.db").out.startswith("tree     t00")
    assert found(cli, "one.db", "--tag", "even") == ["t00"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["t01", "--tag", "even"], "exclude each other"),
        (["--tag", "even", "--full"], "exclude each other"),
        (["--limit", "0"], "Invalid value for '--limit'"),
        (["--limit", str(1 << 63)], "Invalid value for '--limit'"),
        (["--state", "running"], "'running' is not one of"),
        (["--before", "none"], "--before none: the store has no tree 'none'"),
    ],
)
def test_options_that_do_not_fit_are_refused(cli: Cli, store: str, options: list[str], message: str) -> None:
    ended = cli("show", store, *options)
    assert ended.code == 2
    assert message in " ".join(ended.clean.replace("│", " ").split())
