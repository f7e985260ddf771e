"""The words, signs and colours that all views have for the same things."""

from __future__ import annotations

from typing import NamedTuple

from rich.text import Text

from critic_loop.core.listing import TreeState
from critic_loop.core.printable import count, printable
from critic_loop.core.tree import Tree
from critic_loop.evidence import truth_of, value_of

NO_ANSWER = "no answer"
WORTH_STYLES = {
    "right": "green",
    "wrong": "red",
    "accepted": "green",
    "rejected": "red",
    "scored": "yellow",
    "not judged": "yellow",
    NO_ANSWER: "red",
}
"""What an attempt is worth: known truth first, then opinion. In the order of tables, with colours."""
_SIGNS = {"right": "✓", "wrong": "✗", "accepted": "✓", "rejected": "✗"}
_STATUSES = {
    "failed": ("!", "red"),
    "parked": ("?", "yellow"),
    "partial": ("○", "cyan"),
    "in flight": ("○", "cyan"),
}
VERDICT_STYLES = {"pass": "green", "fail": "red", "abstain": "yellow", "": "cyan"}
VERDICT_SIGNS = {"pass": "✓", "fail": "✗", "abstain": "?", "": "•"}
"""By a feedback's verdict, or what a score alone says; empty for neither."""
STATE_STYLES: dict[TreeState, str] = {
    "unfinished": "cyan",
    "parked": "yellow",
    "interrupted": "yellow",
    "ended": "",
}
CHOSEN = "★ chosen"


class Standing(NamedTuple):
    """How an attempt stands."""

    sign: str
    text: str
    style: str


def worth(tree: Tree, attempt_id: str | None) -> str:
    """Return what an attempt is worth, a key of `WORTH_STYLES`."""
    if attempt_id is None:
        return NO_ANSWER
    right = truth_of(tree, attempt_id).right
    if right is not None:
        return "right" if right else "wrong"
    value = value_of(tree, attempt_id)
    if value.accepted is not None:
        return "accepted" if value.accepted else "rejected"
    return "not judged" if value.score is None else "scored"


def standing(worth: str, status: str) -> Standing:
    """Return how an attempt stands: what it is worth, and its status where that is not `complete`."""
    if status == "complete":
        return Standing(_SIGNS.get(worth, "•"), worth, WORTH_STYLES[worth])
    sign, style = _STATUSES[status]
    if worth == "not judged":
        return Standing(sign, status, style)
    return Standing(_SIGNS.get(worth, sign), f"{worth}, {status}", WORTH_STYLES[worth])


def graded(worth: str, score: float | None) -> str:
    """Return a score as it follows the worth; empty where the answer is known to be right or wrong."""
    if score is None or worth in ("right", "wrong", NO_ANSWER):
        return ""
    return f"{score:.2f}" if worth == "scored" else f"score {score:.2f}"


def ending(worth: str, score: float | None, decided_by: str, stop: str, stop_text: str) -> dict[str, str]:
    """Return how a tree ended, by the names that all views have for it."""
    grade = graded(worth, score)
    return {
        "verdict": f"{worth}{f', {grade}' if grade else ''} (decided by {decided_by or 'nobody'})",
        "stopped": f"{stop}: {stop_text}" if stop_text else stop,
    }


def verdict_text(text: str, worth: str) -> Text:
    """Return the verdict of `ending` for a terminal."""
    shown = Text(printable(text))
    shown.stylize(WORTH_STYLES[worth], 0, len(worth))
    return shown


def spent(attempts: int, calls: int, input_tokens: int, output_tokens: int, elapsed_s: float) -> str:
    """Return what a tree cost."""
    facts = [count(attempts, "attempt"), count(calls, "call")]
    facts += [f"{input_tokens:,} tokens in", f"{output_tokens:,} out"]
    return ", ".join([*facts, f"{elapsed_s:.1f} s"] if elapsed_s else facts)
