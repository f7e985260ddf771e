"""Results as JSON rows and as tables.

The rows' keys are public: they are what `run --json` and `run --out` give. Knows results. Does not
know how they came about.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from critic_loop.core.printable import count, printable
from critic_loop.core.records import Verdict
from critic_loop.evidence import truth_of
from critic_loop.render.words import VERDICT_STYLES, verdict_word

if TYPE_CHECKING:
    from critic_loop.graph.result import Result


def row(result: Result[Any]) -> dict[str, Any]:
    """Return a result as a JSON object of the shape `ResultJson`."""
    return result.model_dump(mode="json")


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the totals of rows as a JSON object."""
    verdicts = Counter(r["verdict"] for r in rows)
    return {
        "tasks": len(rows),
        "answered": sum(not r["error"] for r in rows),
        **{str(verdict): verdicts[str(verdict)] for verdict in Verdict},
        **{key: sum(r[key] for r in rows) for key in ("calls", "input_tokens", "output_tokens")},
        "reused": sum(r["reused"] for r in rows),
    }


def answer_of(shown: dict[str, Any]) -> Text:
    """Return a row's answer for a person."""
    return Text(printable(_text(shown["answer"])))


def facts(result: Result[Any], shown: dict[str, Any]) -> RenderableType:
    """Return what there is to know about one result beside its answer."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _facts(result, shown):
        table.add_row(name, value)
    return table


def _is_known(result: Result[Any]) -> bool:
    return result.attempt_id is not None and truth_of(result.tree, result.attempt_id).right is not None


def _facts(result: Result[Any], shown: dict[str, Any]) -> list[tuple[str, Text]]:
    word = verdict_word(result.verdict, known=_is_known(result))
    verdict = Text(word, style=VERDICT_STYLES[result.verdict])
    verdict.append(f" (decided by {result.decided_by or 'nobody'})", style="default")
    if result.verdict is not Verdict.ABSTAIN and shown["score"] is not None:
        verdict.append(f", score {shown['score']:.2f}", style="default")
    stop = printable(f"{result.stop}: {result.stop_text}" if result.stop_text else result.stop)
    spend = ", ".join(
        [
            count(shown["attempts"], "attempt"), count(shown["calls"], "call"),
            f"{shown['input_tokens']:,} tokens in", f"{shown['output_tokens']:,} out",
            f"{shown['elapsed_s']:.1f} s",
        ]
    )  # fmt: skip
    tree = result.tree.id + (" (finished earlier; --new begins another)" if shown["reused"] else "")
    waiting = [("waiting", Text(printable(f"{each}\n{each.text}"))) for each in result.waiting]
    return [
        ("verdict", verdict), *waiting, ("stopped", Text(stop)), ("spent", Text(spend)), ("tree", Text(tree)),
    ]  # fmt: skip


def many(rows: Sequence[dict[str, Any]]) -> RenderableType:
    """Return the totals over many results for a person."""
    total = summary(rows)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in (
        "tasks",
        "accepted",
        "rejected",
        "not judged",
        "no answer",
        "calls",
        "tokens in",
        "tokens out",
    ):
        table.add_column(name, justify="right")
    numbers = [
        total["tasks"], total["pass"], total["fail"], total["abstain"], total["tasks"] - total["answered"],
        total["calls"], total["input_tokens"], total["output_tokens"],
    ]  # fmt: skip
    table.add_row(*(f"{number:,}" for number in numbers))
    stops = Counter(r["stop"] for r in rows)
    reasons = ", ".join(f"{name} {number}" for name, number in stops.most_common())
    return Group(table, Text.assemble(("stopped by  ", "dim"), reasons))


def _text(answer: Any) -> str:
    if isinstance(answer, str):
        return answer.strip()
    import orjson

    return orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode()
