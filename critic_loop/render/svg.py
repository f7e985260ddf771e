"""A search tree as one SVG file: what was tried from what, what it is worth, and where the budget went.

A row for each attempt, indented by its depth. What does not fit is summed up in a row where it belongs. No
script, no network, nothing that a model wrote taken for markup. Knows trees and places on paper; shapes and
colours are in `templates/tree.svg`.
"""

from __future__ import annotations

import math
import re
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined

from critic_loop.core.printable import count, excerpt, printable
from critic_loop.core.tree import Tree
from critic_loop.render.cost import Survey
from critic_loop.render.rows import Row, colour, rows_of, scope_of
from critic_loop.render.words import CHOSEN, WORTH_STYLES

MOST = 60
"""Attempts that have a row of their own, unless all are wanted."""
_ROW, _TOP, _LEFT = 24, 92, 20
_INDENT, _WIDEST = 22, 420
_LABEL, _BAR = 330, 150
_NO_XML = re.compile("[\ufffe\uffff]")


def picture(tree: Tree, *, most: int | None = MOST, attempt: str | None = None) -> str:
    """Return the tree as SVG, for light and dark, with a legend; pointing at an attempt tells more of it.

    Args:
        tree: the tree.
        most: attempts with a row of their own at most: the path to the answer, then where most was spent; None
            for all.
        attempt: only this one, with what led to it and what followed.
    """
    survey = Survey(tree)
    scope = scope_of(survey, attempt)
    rows = _placed(list(rows_of(survey, scope, most)))
    folder = files("critic_loop.render") / "templates"
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, finalize=_safe, trim_blocks=True, lstrip_blocks=True
    )
    label = max(row.x for row in rows) + 16
    return environment.from_string((folder / "tree.svg").read_text("utf-8")).render(
        rows=rows,
        tree=tree,
        facts=_facts(tree),
        unit=survey.unit,
        top=_TOP,
        row=_ROW,
        bottom=_TOP + _ROW * len(rows),
        bar=_BAR,
        columns=max(label + _LABEL, 470),
        alone=sum(bool(row.id) for row in rows),
        scope=len(scope),
        ramp=[(k / 10, colour(k / 10)) for k in range(11)],
        styles=WORTH_STYLES,
        CHOSEN=CHOSEN,
        excerpt=excerpt,
    )


# -- places and words ------------------------------------------------------------------------------


def _placed(rows: list[Row]) -> list[Row]:
    deepest, most = max(row.depth for row in rows), max(row.attempts for row in rows)
    indent = min(_INDENT, _WIDEST / max(1, deepest))
    for number, row in enumerate(rows):
        row.x = round(_LEFT + indent * row.depth, 1)
        row.y = _TOP + _ROW * (number + 0.5)
        row.radius = round(4.5 + 4.5 * math.sqrt(row.attempts / max(1, most)), 1)
    return rows


def _facts(tree: Tree) -> str:
    spend = tree.spend()
    tokens = spend.usage.input_tokens + spend.usage.output_tokens
    facts = [count(len(tree.asks), "attempt"), count(spend.calls, "call"), f"{tokens:,} tokens"]
    if tree.outcome is not None:
        facts.append(f"stopped: {excerpt(tree.outcome.stop, 40)}")
    return ", ".join(facts)


def _safe(value: Any) -> Any:
    """Make what is inserted safe to show, also in XML; autoescape makes it safe as markup."""
    return _NO_XML.sub("\ufffd", printable(value)) if type(value) is str else value
