"""A tree as one HTML file: no script, no network, nothing that a model wrote taken for markup."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from critic_loop.core.printable import count, printable
from critic_loop.render.outline import Outline
from critic_loop.render.remarks import all_said
from critic_loop.render.why import cause_style
from critic_loop.render.words import (
    CHOSEN,
    VERDICT_SIGNS,
    VERDICT_STYLES,
    WORTH_STYLES,
    ending,
    graded,
    spent,
)


def page(shown: Outline) -> str:
    """Return the page: self-contained, readable without JavaScript, in light and dark, and on paper."""
    folder = files("critic_loop.render") / "templates"
    tokens = shown.spend.usage.input_tokens, shown.spend.usage.output_tokens
    style = (folder / "tree.css").read_text("utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, finalize=_finalize, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string((folder / "tree.html").read_text("utf-8"))
    return template.render(
        tree=shown,
        why_style=cause_style(shown.why),
        begun=datetime.fromtimestamp(shown.created_at, UTC).strftime("%Y-%m-%d %H:%M UTC"),
        ending=_ending(shown),
        spent=spent(shown.attempts, shown.spend.calls, *tokens, shown.spend.elapsed_s),
        graded=graded,
        styles=WORTH_STYLES,
        signs=VERDICT_SIGNS,
        verdict_styles=VERDICT_STYLES,
        CHOSEN=CHOSEN,
        count=count,
        linked=_ids(shown),
        style=Markup(style),  # noqa: S704  # our own file
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
    )


def _ending(shown: Outline) -> dict[str, str]:
    ended = shown.outcome
    if ended is None:
        return {}
    return ending(shown.worth, shown.score, ended.decided_by, ended.stop, ended.stop_text)


def _ids(shown: Outline) -> frozenset[str]:
    """Return what is on the page, and can be linked to."""
    said = all_said(said for node in shown.nodes for said in node.feedback)
    return frozenset((*(node.id for node in shown.nodes), *(each.id for each in said)))


def _finalize(value: Any) -> Any:
    """Make what is inserted safe to show; autoescape makes it safe as markup."""
    return printable(value) if type(value) is str else value
