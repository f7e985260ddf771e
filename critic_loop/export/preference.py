"""Preference pairs with the columns `prompt`, `chosen` and `rejected`, for DPO and related methods.

Knows which pairs become rows. Which of two attempts is better is decided in `evidence.better`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from critic_loop.core.messages import Message
from critic_loop.core.protocols import ToolSpec
from critic_loop.core.records import Attempt, AttemptKind, Feedback
from critic_loop.core.tree import Tree
from critic_loop.evidence import Better, By, better_of, value_of
from critic_loop.export.base import Columns, Row, Skip, grounds, provenance, weighted
from critic_loop.export.chat import ChatFormat, Unfit, images_column, images_in, tool_columns, tools_offered
from critic_loop.export.conversation import Exchange, of_attempt


@dataclass(frozen=True, kw_only=True)
class Preference:
    """Rows of two attempts at the same task, of which one is better."""

    by: tuple[By, ...] = ("evidence", "judge", "opinion")
    """What may decide which attempt is better; rows of the first come first."""
    margin: float = 0.0
    """The smallest difference of scores or preference shares, in [0, 1]; different verdicts differ by 1."""
    pairs: int = 4
    """The largest number of rows per tree, those with the largest margins."""
    compared: int = 200
    """The largest number of attempts per tree that are compared: the best and the worst of a larger tree."""
    prompt: Literal["task", "shown"] = "task"
    """`task`: the task's prompt. `shown`: the prompt that both actors were sent; other pairs are skipped."""
    both_orders: bool = True
    """Count a judge's preference only where it was asked in both orders."""
    kinds: tuple[AttemptKind, ...] = ("answer",)
    sampled: bool = True
    """Export only text that a model wrote."""
    thinking: bool = False
    """Keep reasoning, under the key `thinking`."""
    tools: tuple[ToolSpec, ...] = ()
    """Schemas for the `tools` column, instead of those recorded in the tree."""

    @property
    def name(self) -> str:
        """`preference`."""
        return "preference"

    @property
    def when_empty(self) -> str:
        """The message for an export without rows."""
        return f"no tree has two attempts of different value (by {', '.join(self.by)}; margin {self.margin:g})"

    def rows(self, trees: Iterable[Tree]) -> Iterator[Row | Skip]:
        """Yield up to `pairs` rows of each tree; the `weight` of all rows of a tree adds up to 1."""
        for tree in trees:
            yield from weighted(self._of(tree))

    def _of(self, tree: Tree) -> Iterator[Row | Skip]:
        exchanges: dict[str, Exchange] = {}
        for attempt in tree:
            if attempt.kind not in self.kinds or attempt.status != "complete":
                continue
            exchange = of_attempt(tree, attempt)
            if self.sampled and not exchange.sampled:
                yield Skip(tree=tree.id, reason="not written by a model")
            else:
                exchanges[attempt.id] = exchange
        among = _extremes(tree, list(exchanges), self.compared)
        yield from (
            Skip(tree=tree.id, reason="in the middle of a large tree")
            for _ in range(len(exchanges) - len(among))
        )
        ordered, skipped = self._ordered(tree, {attempt: exchanges[attempt] for attempt in among})
        yield from skipped
        taken = 0
        for pair in ordered:
            if taken == self.pairs:
                yield Skip(tree=tree.id, reason="more pairs than the setting allows")
                continue
            row = self._row(tree, pair, exchanges)
            taken += isinstance(row, Row)
            yield row

    def _ordered(self, tree: Tree, exchanges: dict[str, Exchange]) -> tuple[list[Better], list[Skip]]:
        """Return the pairs that qualify, by `by` and then by margin, and the others with their reasons."""
        found: list[Better] = []
        skipped: list[Skip] = []
        for one, other in combinations(exchanges, 2):
            better = better_of(tree, one, other, both_judged=True, both_orders=self.both_orders)
            reason = "neither is known to be better"
            if isinstance(better, Better):
                reason = self._unwanted(better, exchanges[one], exchanges[other], tree[one], tree[other])
                found += [] if reason else [better]
            skipped += [Skip(tree=tree.id, reason=reason)] if reason else []
        found.sort(key=lambda pair: (self.by.index(pair.by), -pair.margin))
        return found, skipped

    def _unwanted(self, better: Better, one: Exchange, other: Exchange, a: Attempt, b: Attempt) -> str:
        if better.by not in self.by:
            return f"decided by {better.by} only"
        if better.margin < self.margin:
            return "margin too small"
        if _same(a, b):
            return "both answers are the same"
        return "prompts differ" if self.prompt == "shown" and one.prompt != other.prompt else ""

    def _row(self, tree: Tree, pair: Better, exchanges: dict[str, Exchange]) -> Row | Skip:
        try:
            return self._fit(tree, pair, exchanges)
        except Unfit as unfit:
            return Skip(tree=tree.id, reason=str(unfit))

    def _fit(self, tree: Tree, pair: Better, exchanges: dict[str, Exchange]) -> Row:
        prompt = exchanges[pair.better].prompt if self.prompt == "shown" else tree.task.prompt
        chosen, rejected = tree[pair.better].messages, tree[pair.worse].messages
        images = images_in(prompt)
        if images_in((*chosen, *rejected)):
            raise Unfit("an answer has an image")
        chat = ChatFormat(thinking=self.thinking, parts=bool(images))
        offered = self.tools or tools_offered(tree, [tree[pair.better], tree[pair.worse]])
        tools, notes = tool_columns((*prompt, *chosen, *rejected), offered)
        columns: Columns = {
            "prompt": chat.write(prompt),
            "chosen": chat.write(chosen),
            "rejected": chat.write(rejected),
            **tools,
        }
        if images:
            columns["images"] = images_column(images)
        columns["provenance"] = provenance(
            tree, [tree[pair.better], tree[pair.worse]], _grounds(tree, pair), decided_by=pair.by
        )
        return Row(columns=columns, images=images, notes=notes)


def _extremes(tree: Tree, attempts: list[str], count: int) -> list[str]:
    """Return up to `count` attempts, half of them the best and half the worst, in the order given."""
    if len(attempts) <= count:
        return attempts
    ranked = sorted(attempts, key=lambda attempt: value_of(tree, attempt).key)
    kept = {*ranked[: count // 2], *ranked[len(ranked) - (count - count // 2) :]}
    return [attempt for attempt in attempts if attempt in kept]


def _same(one: Attempt, other: Attempt) -> bool:
    if one.answer is not None and one.answer == other.answer:
        return True
    return _texts(one.messages) == _texts(other.messages)


def _texts(messages: tuple[Message, ...]) -> list[str]:
    return [message.text.strip() for message in messages if message.role == "assistant"]


def _grounds(tree: Tree, pair: Better) -> list[Feedback]:
    return [*grounds(tree, pair.better, pair.worse), *pair.feedback]
