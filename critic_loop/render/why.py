"""Why a tree came to no right answer, for a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from critic_loop.core.printable import printable
from critic_loop.metrics import FAILURES, Cause, Why


def cause_style(found: Why | Cause) -> str:
    """Return the colour of a cause: red for failures, green where it is solved, else yellow."""
    cause = found.cause if isinstance(found, Why) else found
    return "red" if cause in FAILURES else "green" if cause is Cause.SOLVED else "yellow"


def page(found: Why) -> RenderableType:
    """Return a cause with its evidence, for a person."""
    head = Text.assemble((str(found.cause), f"bold {cause_style(found)}"), "  ", (found.tree, "dim"))
    parts: list[RenderableType] = [head, Text(printable(found.text))]
    if found.evidence:
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True, style="dim")
        table.add_column(overflow="fold", max_width=24)
        table.add_column(overflow="fold")
        for e in found.evidence:
            table.add_row(Text(printable(e.id)), Text(printable(e.by)), Text(printable(e.quote)))
        parts += [Text(), Padding(table, (0, 0, 0, 2))]
    if found.hint:
        parts += [Text(), Text.assemble(("next  ", "bold cyan"), printable(found.hint))]
    return Group(*parts)
