"""Rows for supervised fine-tuning on answers: TRL's conversational `messages`, or `prompt` and `completion`.

Knows which attempts are exported. Does not know critiques (`export.critique_sft`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from critic_loop.core.protocols import ToolSpec
from critic_loop.core.records import Attempt, AttemptKind, digest_of
from critic_loop.core.tree import Tree
from critic_loop.evidence import truth_of
from critic_loop.export.base import Columns, Row, Skip, grounds, provenance, weighted
from critic_loop.export.chat import ChatFormat, Unfit, images_column, images_in, tool_columns, tools_offered
from critic_loop.export.conversation import Exchange, of_attempt


@dataclass(frozen=True, kw_only=True)
class Sft:
    """Rows of conversations that end in a good answer."""

    only: Literal["chosen", "passed", "all"] = "chosen"
    """`chosen`: the attempt that its tree chose; `passed`: attempts known to be right; `all`: complete ones."""
    verified: bool = True
    """A chosen attempt must be known to be right; if False, it must not be known to be wrong."""
    context: Literal["shown", "task"] = "shown"
    """The messages before the answer. `shown`: the prompt that the actor was sent (system prompt, earlier
    drafts, feedback). `task`: the task's prompt alone, so that the final answer is learnt as a first answer."""
    columns: Literal["messages", "prompt_completion"] = "messages"
    """One column with the conversation, or `prompt` and `completion`, so that only the answer is learnt."""
    kinds: tuple[AttemptKind, ...] = ("answer",)
    sampled: bool = True
    """Export only text that a model wrote."""
    thinking: bool = False
    """Keep reasoning, under the key `thinking`."""
    tools: tuple[ToolSpec, ...] = ()
    """Schemas for the `tools` column, instead of those recorded in the tree."""

    @property
    def name(self) -> str:
        """`sft`."""
        return "sft"

    @property
    def when_empty(self) -> str:
        """The message for an export without rows."""
        return {
            "chosen": "no tree has a chosen attempt" + (" that is known to be right" if self.verified else ""),
            "passed": "no attempt is known to be right",
            "all": "no attempt is complete",
        }[self.only]

    def rows(self, trees: Iterable[Tree]) -> Iterator[Row | Skip]:
        """Yield a row for each attempt that `only` selects; the `weight` of all rows of a tree adds up to 1."""
        for tree in trees:
            yield from weighted(self._of(tree))

    def _of(self, tree: Tree) -> Iterator[Row | Skip]:
        seen: set[str] = set()
        for attempt in self._candidates(tree):
            reason = self._unwanted(tree, attempt)
            made = Skip(tree=tree.id, reason=reason) if reason else self._row(tree, attempt)
            if isinstance(made, Row):
                content = digest_of({key: value for key, value in made.columns.items() if key != "provenance"})
                if content in seen:
                    made = Skip(tree=tree.id, reason="the same text as another attempt of its tree")
                seen.add(content)
            yield made

    def _candidates(self, tree: Tree) -> list[Attempt]:
        if self.only != "chosen":
            return [attempt for attempt in tree if attempt.kind in self.kinds]
        chosen = tree.outcome.chosen if tree.outcome else None
        return [tree[chosen]] if chosen is not None else []

    def _unwanted(self, tree: Tree, attempt: Attempt) -> str:
        if attempt.status != "complete":
            return "not complete"
        if self.only == "all":
            return ""
        right = truth_of(tree, attempt.id).right
        if self.only == "chosen":
            return self._unproven(right=right)
        return "" if right is True else "not known to be right"

    def _unproven(self, *, right: bool | None) -> str:
        if right is False:
            return "chosen, but known to be wrong"
        return "chosen, but not known to be right" if self.verified and right is None else ""

    def _row(self, tree: Tree, attempt: Attempt) -> Row | Skip:
        exchange = of_attempt(tree, attempt)
        if self.context == "task":
            exchange = Exchange(prompt=tree.task.prompt, written=attempt.messages)
        if self.sampled and not exchange.sampled:
            return Skip(tree=tree.id, reason="not written by a model")
        try:
            return self._fit(tree, attempt, exchange)
        except Unfit as unfit:
            return Skip(tree=tree.id, reason=str(unfit))

    def _fit(self, tree: Tree, attempt: Attempt, exchange: Exchange) -> Row:
        everything = (*exchange.prompt, *exchange.written)
        images = images_in(everything)
        chat = ChatFormat(thinking=self.thinking, parts=bool(images))
        tools, notes = tool_columns(everything, self.tools or tools_offered(tree, [attempt]))
        if self.columns == "messages":
            columns: Columns = {"messages": chat.write(everything)}
        else:
            columns = {"prompt": chat.write(exchange.prompt), "completion": chat.write(exchange.written)}
        columns |= tools
        if images:
            columns["images"] = images_column(images)
        columns["provenance"] = provenance(tree, [attempt], grounds(tree, attempt.id))
        return Row(columns=columns, images=images, notes=notes)
