"""Results as JSON rows and as tables. The rows' keys are public: `run --json` and `run --out` write them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from critic_loop.core.printable import printable
from critic_loop.core.records import Verdict
from critic_loop.render.words import WORTH_STYLES, ending, spent, verdict_text, worth

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
    """Return the facts about one result beside its answer."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _facts(result, shown):
        table.add_row(name, value)
    return table


def worth_of(result: Result[Any]) -> str:
    """Return the value of a result's answer, in the words that all views use."""
    return worth(result.tree, result.attempt_id)


def _facts(result: Result[Any], shown: dict[str, Any]) -> list[tuple[str, Text]]:
    value = worth_of(result)
    score, decided_by = shown["score"], result.decided_by
    ended = ending(value, score, decided_by, result.stop, result.stop_text)
    cost = spent(*(shown[key] for key in ("attempts", "calls", "input_tokens", "output_tokens", "elapsed_s")))
    tree = result.tree.id + (" (finished earlier; --new begins another)" if shown["reused"] else "")
    waiting = [("waiting", Text(printable(f"{each}\n{each.text}"))) for each in result.waiting]
    return [
        ("verdict", verdict_text(ended["verdict"], value)),
        *waiting,
        ("stopped", Text(printable(ended["stopped"]))),
        ("spent", Text(cost)),
        ("tree", Text(tree)),
    ]


def many(rows: Sequence[dict[str, Any]], worths: Counter[str]) -> RenderableType:
    """Return the totals over many results for a person; `worths` counts what their answers are worth."""
    total = summary(rows)
    numbers = {"tasks": total["tasks"], **{word: worths[word] for word in WORTH_STYLES if worths[word]}}
    tokens = {"tokens in": total["input_tokens"], "tokens out": total["output_tokens"]}
    numbers |= {"calls": total["calls"], **tokens}
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in numbers:
        table.add_column(name, justify="right")
    table.add_row(*(f"{number:,}" for number in numbers.values()))
    stops = Counter(r["stop"] for r in rows)
    reasons = ", ".join(f"{name} {number}" for name, number in stops.most_common())
    return Group(table, Text.assemble(("stopped  ", "dim"), reasons))


def _text(answer: Any) -> str:
    if isinstance(answer, str):
        return answer.strip()
    import orjson

    return orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode()
