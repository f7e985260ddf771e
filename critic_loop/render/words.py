"""The words and colours that all views have for the same things."""

from __future__ import annotations

from critic_loop.core.listing import TreeState
from critic_loop.core.records import Verdict

WORTH_STYLES = {
    "right": "green",
    "wrong": "red",
    "accepted": "green",
    "rejected": "red",
    "scored": "yellow",
    "not judged": "yellow",
}
"""Colours of the words in `outline.worth`."""
STATE_STYLES: dict[TreeState, str] = {
    "unfinished": "cyan",
    "parked": "yellow",
    "interrupted": "yellow",
    "ended": "",
}
VERDICT_STYLES = {Verdict.PASS: "green", Verdict.FAIL: "red", Verdict.ABSTAIN: "yellow"}
VERDICT_WORDS = {Verdict.PASS: "accepted", Verdict.FAIL: "rejected", Verdict.ABSTAIN: "not judged"}
_KNOWN_WORDS = VERDICT_WORDS | {Verdict.PASS: "right", Verdict.FAIL: "wrong"}


def verdict_word(verdict: Verdict, *, known: bool) -> str:
    """Return a verdict in the words of `critic-loop show`: right or wrong where that is known."""
    return (_KNOWN_WORDS if known else VERDICT_WORDS)[verdict]
