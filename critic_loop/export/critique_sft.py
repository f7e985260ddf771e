"""Supervised fine-tuning of critics: a critic's real request and reply, where it judged rightly.

Knows how a verdict is held against what is known to be right (`evidence.right`). Does not know answers as
targets (`export.sft`).

Source: rejection sampling of critiques by verdict correctness, as in Critique-RL (2025), stage I, and the
cold start of RefCritic (2025). Unlike there, critiques that no evidence speaks about can be kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from critic_loop.core.records import Feedback, Source, Verdict
from critic_loop.core.tree import Tree
from critic_loop.evidence import truth_of
from critic_loop.export.base import Columns, Row, Skip, provenance, weighted
from critic_loop.export.chat import ChatFormat, Unfit, images_column, images_in
from critic_loop.export.conversation import Exchange, of_feedback


@dataclass(frozen=True, kw_only=True)
class CritiqueSft:
    """Rows of conversations that end in a critique."""

    agrees: Literal["where_known", "required", "ignored"] = "where_known"
    """Whether a verdict must agree with what is known to be right: where that is known, always, or not."""
    sources: tuple[Source, ...] = ("critic", "judge")
    saw_reference: bool = False
    """Whether critiques count whose author was shown the reference answer (it stands in their prompt)."""
    columns: Literal["messages", "prompt_completion"] = "messages"
    thinking: bool = False

    @property
    def name(self) -> str:
        """`critique_sft`."""
        return "critique_sft"

    @property
    def when_empty(self) -> str:
        """What no tree had."""
        agreeing = {
            "where_known": " that nothing known contradicts",
            "required": " that is known to be right",
            "ignored": "",
        }[self.agrees]
        return f"no tree has a verdict of a model's{agreeing}"

    def rows(self, trees: Iterable[Tree]) -> Iterator[Row | Skip]:
        """Yield a row for each critique; `weight` shares 1 among the critiques of a tree."""
        for tree in trees:
            yield from weighted(self._row(tree, f) for f in _valid(tree) if f.source in self.sources)

    def _row(self, tree: Tree, feedback: Feedback) -> Row | Skip:
        exchange = of_feedback(tree, feedback)
        reason = self._unwanted(tree, feedback)
        if reason or exchange is None:
            return Skip(tree=tree.id, reason=reason or "came without a model call")
        try:
            return self._fit(tree, feedback, exchange)
        except Unfit as unfit:
            return Skip(tree=tree.id, reason=str(unfit))

    def _unwanted(self, tree: Tree, feedback: Feedback) -> str:
        if feedback.verdict is Verdict.ABSTAIN:
            return "abstained"
        if feedback.verdict is None and feedback.score is None and feedback.preference is None:
            return "neither verdict nor score"
        if feedback.saw_reference and not self.saw_reference:
            return "saw the reference"
        right = judged_rightly(tree, feedback)
        if right is None and self.agrees == "required":
            return "not known whether its verdict is right"
        return "contradicts what is known" if right is False and self.agrees != "ignored" else ""

    def _fit(self, tree: Tree, feedback: Feedback, exchange: Exchange) -> Row:
        everything = (*exchange.prompt, *exchange.written)
        images = images_in(everything)
        chat = ChatFormat(thinking=self.thinking, parts=bool(images))
        if self.columns == "messages":
            columns: Columns = {"messages": chat.write(everything)}
        else:
            columns = {"prompt": chat.write(exchange.prompt), "completion": chat.write(exchange.written)}
        if images:
            columns["images"] = images_column(images)
        columns["provenance"] = _provenance(tree, feedback)
        return Row(columns=columns, images=images)


def judged_rightly(tree: Tree, feedback: Feedback) -> bool | None:
    """Return whether what is known confirms a verdict or preference; None if that says nothing about it.

    No word confirms itself: what other feedback says is known (critics who saw the reference count as such).
    """
    subject = feedback.subject
    if subject is None or subject.location is not None:
        return None
    truths = [truth_of(tree, attempt, without=feedback.id).right for attempt in subject.attempts]
    if feedback.preference is not None:
        return _preferred_rightly(feedback.preference, truths)
    if len(truths) != 1 or truths[0] is None or feedback.verdict not in (Verdict.PASS, Verdict.FAIL):
        return None
    return (feedback.verdict is Verdict.PASS) == truths[0]


def _preferred_rightly(shares: tuple[float, ...], truths: list[bool | None]) -> bool | None:
    """Return whether every right attempt has a larger share than every wrong one."""
    right = [share for share, truth in zip(shares, truths, strict=True) if truth is True]
    wrong = [share for share, truth in zip(shares, truths, strict=True) if truth is False]
    return min(right) > max(wrong) if right and wrong else None


def _valid(tree: Tree) -> Iterator[Feedback]:
    """Yield the feedback that nothing supersedes, in the order of arrival."""
    superseded = {feedback.supersedes for feedback in tree.feedback.values()}
    return (feedback for feedback in tree.feedback.values() if feedback.id not in superseded)


def _provenance(tree: Tree, feedback: Feedback) -> Columns:
    subject = feedback.subject
    attempts = [tree[i] for i in (subject.attempts if subject else ()) if i in tree]
    known = [f for attempt in attempts for f in truth_of(tree, attempt.id, without=feedback.id).rests_on]
    return provenance(tree, attempts, [feedback, *known])
