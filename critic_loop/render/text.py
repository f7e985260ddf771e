"""An outline of a tree for a terminal.

Everything that a model wrote passes through `_safe`: no markup, no control characters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from rich.tree import Tree as Branches

from critic_loop.core.printable import count, excerpt, printable
from critic_loop.render.diff import Line
from critic_loop.render.outline import Gap, Node, Outline
from critic_loop.render.remarks import Asked, Remark
from critic_loop.render.why import cause_style
from critic_loop.render.words import (
    CHOSEN,
    VERDICT_SIGNS,
    VERDICT_STYLES,
    ending,
    graded,
    spent,
    verdict_text,
)

_MOST_LINES = 14
_MOST_CHARACTERS = 1_200
_DEEPEST = 6
"""Branchings that are indented; what lies deeper stays at this level."""

_DIFF = {"+": ("green", "bold green"), "-": ("red", "bold red"), " ": ("dim", "dim"), "…": ("dim", "dim")}


def page(shown: Outline, *, full: bool = False) -> RenderableType:
    """Return an outline for a terminal; with `full`, nothing is cut short."""
    parts: list[RenderableType] = [_facts(shown, full=full), Text()]
    branches = Branches("", hide_root=True, guide_style="dim")
    levels = [branches]
    for item in shown.items:
        depth = min(item.indent, _DEEPEST)
        del levels[depth + 1 :]
        parent = levels[min(depth, len(levels) - 1)]
        close = isinstance(item, Node) and item.id == shown.attempt
        label = _gap(item) if isinstance(item, Gap) else _node(item, full=full, calls=close)
        levels.append(parent.add(label))
    parts.append(branches)
    parts += [_safe(f"{event.kind}  {excerpt(event.text, 200)}", "dim") for event in shown.events if event.text]
    return Group(*parts)


def _facts(shown: Outline, *, full: bool) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("tree", Text.assemble((shown.tree, "bold"), f"  recipe {printable(shown.recipe)}"))
    table.add_row("task", _clipped(shown.task, "", full=full))
    if shown.reference is not None:
        table.add_row("reference", _safe(excerpt(str(shown.reference), 200)))
    for name, text in _ending(shown):
        table.add_row(name, text)
    return table


def _ending(shown: Outline) -> Iterator[tuple[str, Text]]:
    ended, spend = shown.outcome, shown.spend
    if ended is not None:
        for name, text in ending(
            shown.worth, shown.score, ended.decided_by, ended.stop, ended.stop_text
        ).items():
            yield name, verdict_text(text, shown.worth) if name == "verdict" else _safe(text)
    tokens = spend.usage.input_tokens, spend.usage.output_tokens
    yield "spent", Text(spent(shown.attempts, spend.calls, *tokens, spend.elapsed_s))
    cause = Text(f"{shown.why.cause}  ", style=f"bold {cause_style(shown.why)}")
    yield "why", cause.append(printable(shown.why.text), style="not bold default")
    if shown.why.hint:
        yield "next", _safe(shown.why.hint, "cyan")


def _gap(gap: Gap) -> Text:
    from_on = f", from {printable(gap.first)} on" if gap.attempts > 1 else f": {printable(gap.first)}"
    return Text(
        f"… {count(gap.attempts, 'more attempt')}{from_on} (--attempt shows one, --full all)", style="dim"
    )


def _node(node: Node, *, full: bool, calls: bool) -> RenderableType:
    parts: list[RenderableType] = [_heading(node), Padding(_answer(node, full=full), (0, 0, 0, 2))]
    if node.error:
        parts.append(Padding(_clipped(f"error: {node.error}", "red", full=full), (0, 0, 0, 2)))
    if node.work and (full or calls):
        parts += [Padding(p, (0, 0, 0, 2)) for p in _messages(node.work, full=full)]
    elif len(node.work) > 1:
        more = f"… {count(len(node.work), 'message')} on the way (--attempt {node.number})"
        parts.append(Padding(_safe(more, "dim"), (0, 0, 0, 2)))
    parts += [Padding(_said(said, full=full, calls=calls), (0, 0, 0, 2)) for said in node.feedback]
    if calls:
        parts += [Padding(_call(call, full=full), (0, 0, 0, 2)) for call in node.calls]
    return Group(*parts, Text())


def _heading(node: Node) -> Text:
    sign, words, style = node.standing
    text = Text.assemble(
        (f"{sign} ", style), (f"attempt {printable(node.number)}", "bold"), "  ", (words, style)
    )
    if grade := graded(node.worth, node.score):
        text.append(f"{' ' if node.worth == 'scored' else '  '}{grade}")
    if node.chosen:
        text.append(f"  {CHOSEN}", style="bold")
    if node.kind != "answer":
        text.append(f"  {node.kind}")
    if node.parents:
        after = ", ".join(parent.rpartition(".")[2] for parent in node.parents)
        text.append(f"  after {printable(after)}", style="dim")
    if node.repeats:
        text.append(f"  same as {printable(node.repeats)}", style="yellow")
    if node.calls_made:
        text.append(f"  {count(node.calls_made, 'call')}, {node.tokens:,} tokens", style="dim")
    return text


def _answer(node: Node, *, full: bool) -> RenderableType:
    if node.changed:
        return _diff(node.changed, full=full)
    if not node.answer:
        return Text("(no answer)" if node.status != "in flight" else "(in flight)", style="dim italic")
    return _clipped(node.answer, "", full=full)


def _diff(lines: Sequence[Line], *, full: bool) -> RenderableType:
    most = len(lines) if full else _MOST_LINES
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for line in lines[:most]:
        plain, changed = _DIFF[line.op]
        text = Text()
        for piece in line.pieces:
            text.append(printable(piece.text), style=changed if piece.changed else plain)
        table.add_row(Text(line.op, style=plain), text)
    if len(lines) > most:
        table.add_row("", _and_more(Text(), len(lines) - most))
    return table


def _said(said: Remark, *, full: bool, calls: bool) -> RenderableType:
    sign, style = VERDICT_SIGNS[said.stance], VERDICT_STYLES[said.stance]
    head = Text.assemble((f"{sign} ", style), (printable(said.author) or said.source, "bold"))
    if said.source not in (said.author, said.author.partition("/")[0]):
        head.append(f" ({said.source})", style="dim")
    words = [said.verdict or "", "" if said.score is None else f"{said.score:.2f}"]
    head.append("".join(f"  {word}" for word in words if word), style=style)
    head.append("".join(f"  [{mark}]" for mark in said.marks), style="yellow")
    parts: list[RenderableType] = [head]
    below = [_safe(said.subject, "italic")] if said.subject else []
    below += [_clipped(said.text, "", full=full)] if said.text.strip() else []
    below += [_clipped(detail, "dim", full=full) for detail in said.details]
    parts += [Padding(text, (0, 0, 0, 2)) for text in below]
    parts += [Padding(_said(each, full=full, calls=calls), (0, 0, 0, 2)) for each in said.feedback]
    if calls:
        parts += [Padding(_call(call, full=full), (0, 0, 0, 2)) for call in said.calls]
    return Group(*parts)


def _call(call: Asked, *, full: bool) -> RenderableType:
    facts = f"{call.status}, {call.input_tokens:,} tokens in, {call.output_tokens:,} out"
    took = "" if call.elapsed_s is None else f", {call.elapsed_s:.1f} s"
    head = _safe(f"call {call.id}  {call.agent}  {call.model}  {facts}{took}", "cyan")
    said = [*call.prompt, *(("reply", reply) for reply in call.replies)]
    said += [("error", call.error)] if call.error else []
    return Group(head, *(Padding(part, (0, 0, 0, 2)) for part in _messages(said, full=full)))


def _messages(messages: Iterable[tuple[str, str]], *, full: bool) -> Iterator[Text]:
    for role, text in messages:
        yield Text(f"{printable(role)}: ", style="dim").append_text(_clipped(text, "not dim", full=full))


# -- text ------------------------------------------------------------------------------------------


def _safe(text: str, style: str = "") -> Text:
    """Return text that somebody wrote as it may be shown: no markup, no control characters."""
    return Text(printable(text), style=style)


def _clipped(text: str, style: str, *, full: bool) -> Text:
    """Return text, cut after some lines, which is said."""
    text = text.strip("\n")
    if full:
        return _safe(text, style)
    lines = text.splitlines()
    kept = "\n".join(lines[:_MOST_LINES])
    cut = kept[:_MOST_CHARACTERS]
    if len(cut) < len(kept):
        return _safe(cut, style).append(f"… {len(text) - len(cut):,} more characters (--full)", style="dim")
    return _and_more(_safe(cut, style), len(lines) - _MOST_LINES)


def _and_more(text: Text, lines: int) -> Text:
    if lines <= 0:
        return text
    return text.append("\n" if text else "").append(f"… {count(lines, 'more line')} (--full)", style="dim")
