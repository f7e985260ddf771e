"""A store of every released record schema opens for ever.

`schema-1.db` was written by the last commit with record schema 1: all fixture trees, a finished run with a
tool, a late word of its user, and a run that its budget cut short.
"""

import shutil
import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner

import critic_loop as cl
from critic_loop.cli import app
from critic_loop.core.errors import ConfigError
from critic_loop.core.listing import TreeQuery
from critic_loop.core.messages import ToolResult
from critic_loop.core.printable import excerpt
from critic_loop.core.records import SCHEMA_VERSION, Head
from critic_loop.store import listing, open_store
from critic_loop.testing import ScriptedModel, trees

HERE = Path(__file__).parent
pytestmark = pytest.mark.anyio


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return Path(shutil.copy(HERE / "schema-1.db", tmp_path / "old.db"))


@pytest.mark.parametrize("name", sorted(trees.ALL))
async def test_records_of_schema_1_read_as_what_is_written_today(old: Path, name: str) -> None:
    store = open_store(old)
    read = await store.load(name)
    await store.aclose()
    head, *rest = trees.ALL[name]().log
    assert read.head.schema_version == 1
    digests = {"schema_version": 1, "recipe_digest": read.head.recipe_digest}
    assert read.head == head.model_copy(update=digests)
    assert read.log[1:] == rest


async def test_trees_of_an_older_file_are_found_by_title_and_tag(old: Path) -> None:
    store = open_store(old)
    page = await store.find(TreeQuery(limit=100))
    for info in page.trees:
        task = (await store.load(info.id)).task
        assert info.title == excerpt(task.text.strip().partition("\n")[0])
        assert info.tags == task.tags
    await store.aclose()
    assert page.total == len(page.trees) >= len(trees.ALL)
    assert any(info.tags for info in page.trees)


async def test_a_head_that_cannot_be_read_hides_its_own_tree_alone(old: Path) -> None:
    db = sqlite3.connect(old)
    row = "SELECT 'broken', task, recipe, created_at, attempts, owner FROM trees WHERE tree = 'finished'"
    made = db.execute(f"INSERT INTO trees (tree, task, recipe, created_at, attempts, owner) {row}")
    db.execute("INSERT INTO records (tree, seq, kinds, body) VALUES (?, 0, 'h', '[1]')", (made.lastrowid,))
    db.commit()
    db.close()
    store = open_store(old)
    newest, before, *_ = (await store.find(TreeQuery())).trees
    assert (newest.id, newest.title, newest.tags) == ("broken", "", ())
    assert before.title == "What is 20 + 22?"
    assert len(await store.load("finished")) == 2
    await store.aclose()


async def test_a_file_opens_while_an_older_version_adds_trees(old: Path, monkeypatch) -> None:
    described, left = listing.title_and_tags, iter(range(50))

    def meanwhile(head: Head) -> tuple[str, str]:
        if next(left, None) is None:
            return described(head)
        db = sqlite3.connect(old)
        columns = "task, recipe, created_at, attempts, owner"
        one = f"SELECT 'x' || max(id), {columns} FROM trees"
        made = db.execute(f"INSERT INTO trees (tree, {columns}) {one}").lastrowid
        first = "SELECT kinds, body FROM records WHERE seq = 0 AND kinds <> '' LIMIT 1"
        db.execute(f"INSERT INTO records (tree, seq, kinds, body) SELECT ?, 0, * FROM ({first})", (made,))
        db.commit()
        db.close()
        return described(head)

    monkeypatch.setattr(listing, "title_and_tags", meanwhile)
    store = open_store(old)
    page = await store.find(TreeQuery(limit=1000))
    await store.aclose()
    assert all((tree.title == "") == tree.id.startswith("x") for tree in page.trees)


async def test_a_text_of_a_tool_became_content_parts(old: Path) -> None:
    store = open_store(old)
    tree = await store.load("finished")
    await store.aclose()
    [result] = [p for m in tree["finished.1"].messages for p in m.parts if isinstance(p, ToolResult)]
    assert (result.text, result.name, result.duration_s) == ("42", "add", None)
    assert tree.task.license == "CC0-1.0"
    assert [f.source for f in tree.about("finished.1")] == ["verifier", "critic", "user"]


def typed(*line: str) -> str:
    done = CliRunner().invoke(app, line, env={"COLUMNS": "80", "NO_COLOR": "1"})
    assert done.exit_code == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("command", ["show", "why"])
def test_it_is_shown(old: Path, command: str) -> None:
    assert typed(command, str(old), "finished") == (HERE / f"{command}.txt").read_text(encoding="utf-8")


def test_it_is_exported(old: Path, tmp_path: Path) -> None:
    typed("export", "--to", "preference", "--store", str(old), "--out", str(tmp_path / "rows"))
    [rows] = (tmp_path / "rows").rglob("*.jsonl")
    assert rows.read_text(encoding="utf-8") == (HERE / "preference.jsonl").read_text(encoding="utf-8")


async def test_a_late_grade_joins_it_and_stays(old: Path) -> None:
    store = open_store(old)
    grade = cl.Feedback.passed(source="grader", author="exact", produced_by="exact 1")
    added = await store.add_feedback("finished.2", grade)
    await store.aclose()
    again = open_store(old)
    tree = await again.load("finished")
    await again.aclose()
    assert tree.log[-1] == added
    assert (added.source, added.author, added.produced_by) == ("grader", "exact", "exact 1")


async def test_an_unfinished_tree_of_schema_1_is_not_continued_and_says_why(old: Path) -> None:
    loop = cl.Loop("refine", actor=ScriptedModel(["x"]), critic=ScriptedModel(["x"]), verifiers=[], store=old)
    tree = await loop.store.load("unfinished")
    with pytest.raises(
        ConfigError, match=rf"record schema 1.*here {SCHEMA_VERSION}.*but not continued"
    ) as caught:
        await loop.run(tree.task, tree_id="unfinished")
    assert "another tree id" in caught.value.hint
    await loop.aclose()
