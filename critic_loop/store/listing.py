"""The trees of a SQLite store as a list, found by SQL. Knows tables and heads."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from critic_loop.core.errors import NoSuchTree
from critic_loop.core.listing import TreeInfo, TreePage, TreeQuery
from critic_loop.core.progress import ENDED_BY_HAND
from critic_loop.core.records import Head
from critic_loop.store import codec
from critic_loop.store.rebuild import record_of, title_of, version_in
from critic_loop.store.texts import StoredTexts

_PAGE = 500
_SELECT = "SELECT id, tree, task, title, tags, recipe, created_at, attempts, stop "
_BY_HAND = "('" + "', '".join(sorted(ENDED_BY_HAND)) + "')"
_OF_STATE = {
    "unfinished": "stop IS NULL",
    "parked": "stop = 'parked'",
    "interrupted": f"stop IN {_BY_HAND}",
    "ended": f"stop IS NOT NULL AND stop <> 'parked' AND stop NOT IN {_BY_HAND}",
}


def page(
    db: sqlite3.Connection, after: int, recipe: str | None, task: str | None
) -> list[tuple[int, TreeInfo]]:
    """Return the next trees after the one of this number, oldest first, each with its number."""
    where = "FROM trees WHERE id > ? AND (? IS NULL OR recipe = ?) AND (? IS NULL OR task = ?)"
    query = f"{_SELECT}{where} ORDER BY id LIMIT ?"
    return [(row[0], _info(row)) for row in db.execute(query, (after, recipe, recipe, task, task, _PAGE))]


def find(db: sqlite3.Connection, query: TreeQuery) -> TreePage:
    """Return a page of the trees that a query finds.

    Raises:
        NoSuchTree: there is no tree with the id that is given as `before`.
    """
    where, given = ["1"], list[Any]()
    for column, value in (("recipe", query.recipe), ("task", query.task)):
        if value is not None:
            where.append(f"{column} = ?")
            given.append(value)
    if query.tag is not None:
        where.append("EXISTS (SELECT 1 FROM json_each(tags) WHERE value = ?)")
        given.append(query.tag)
    if query.state is not None:
        where.append(_OF_STATE[query.state])
    matching = f"FROM trees WHERE {' AND '.join(where)}"
    (total,) = db.execute(f"SELECT count(*) {matching}", given).fetchone()
    place = "" if query.before is None else f" AND id < {_number(db, query.before)}"
    rows = db.execute(
        f"{_SELECT}{matching}{place} ORDER BY id DESC LIMIT ?", (*given, query.limit + 1)
    ).fetchall()
    kept = rows[: query.limit]
    return TreePage(trees=tuple(map(_info, kept)), total=total, more=len(rows) > len(kept))


def _number(db: sqlite3.Connection, tree: str) -> int:
    row = db.execute("SELECT id FROM trees WHERE tree = ?", (tree,)).fetchone()
    if row is None:
        raise NoSuchTree(f"the store has no tree {tree!r}")
    return int(row[0])


def _info(row: tuple[Any, ...]) -> TreeInfo:
    _, tree, task, title, tags, recipe, created_at, attempts, stop = row
    return TreeInfo(
        id=tree,
        task=task,
        title=title or "",
        tags=tuple(json.loads(tags or "[]")),
        recipe=recipe,
        created_at=created_at,
        attempts=attempts,
        stop=stop,
    )


def title_and_tags(head: Head) -> tuple[str, str]:
    """Return what the columns of these names hold."""
    return title_of(head), json.dumps(head.task.tags)


def describe_trees(db: sqlite3.Connection) -> None:
    """Fill the columns `title` and `tags` of trees that were written before there were any.

    Trees that an older version adds meanwhile are left to the next opening of the file.
    """
    query = (
        "SELECT trees.id, trees.tree, records.kinds, records.body FROM trees JOIN records"
        " ON records.tree = trees.id AND records.seq = 0"
        " WHERE trees.title IS NULL AND trees.id > ? AND trees.id <= ? ORDER BY trees.id LIMIT ?"
    )
    (last,) = db.execute("SELECT coalesce(max(id), 0) FROM trees").fetchone()
    after = 0
    while rows := db.execute(query, (after, last, _PAGE)).fetchall():
        texts = StoredTexts(db)
        described = [(*_described(tree, kinds, body, texts), ref) for ref, tree, kinds, body in rows]
        db.execute("BEGIN IMMEDIATE")
        db.executemany("UPDATE trees SET title = ?, tags = ? WHERE id = ?", described)
        db.execute("COMMIT")
        after = rows[-1][0]


def _described(tree: str, kinds: str, body: str, texts: StoredTexts) -> tuple[str, str]:
    """Return the title and the tags of a stored head; neither where it cannot be read."""
    try:
        fields = codec.loads(body.partition("\n")[0], tree, texts.get)
        head = record_of(kinds[0], fields, tree, version_in(fields))
    except Exception:  # noqa: BLE001  # whatever is stored there, only this tree is affected
        return "", "[]"
    return title_and_tags(head) if isinstance(head, Head) else ("", "[]")
