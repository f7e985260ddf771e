"""`critic-loop config`: the settings that are in force, and where each came from."""

from __future__ import annotations

from typing import Any

from rich.table import Table
from rich.text import Text

from critic_loop.cli.documents.settings import ConfigDocument, ConfigPathDocument, Setting
from critic_loop.cli.settings import FILE, SCALARS, Found, shown, variable
from critic_loop.cli.terminal import FAILURE, Terminal
from critic_loop.core.printable import printable


def config(found: Found, terminal: Terminal, *, as_json: bool) -> None:
    """Show the settings."""
    if as_json:
        terminal.document(document(found))
        return
    if found.file is None:
        terminal.note(
            f"There is no {FILE} here or above; what is listed here may stand in one, and [models.NAME]."
        )
    else:
        terminal.fact("config", str(found.file))
    terminal.out.print(_table(found))


def path(found: Found, terminal: Terminal, *, as_json: bool) -> int:
    """Show where the file lies; return the exit code."""
    if as_json:
        terminal.document(ConfigPathDocument(file=None if found.file is None else str(found.file)))
        return 0
    if found.file is None:
        terminal.note(f"There is no {FILE} here or above.")
        return FAILURE
    terminal.out.print(Text(printable(str(found.file))), soft_wrap=True)
    return 0


def document(found: Found) -> ConfigDocument:
    """Return the settings for a document."""
    values = found.settings.model_dump(mode="json")
    return ConfigDocument(
        file=None if found.file is None else str(found.file),
        settings={
            name: Setting(value=shown(values[name]), origin=found.origins[name], variable=variable(name))
            for name in SCALARS
        },
        models={name: shown(_given(found, name)) for name in sorted(found.settings.models)},
    )


def _given(found: Found, name: str) -> dict[str, Any]:
    """Return the settings of a table; of `extra` only the keys, because any of them may be a secret."""
    given = found.settings.models[name].model_dump(mode="json", exclude_unset=True)
    if "extra" in given:
        given["extra"] = dict.fromkeys(given["extra"], "…")
    return given


def _table(found: Found) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("setting", "value", "from"):
        table.add_column(name, overflow="fold")
    values = found.settings.model_dump(mode="json")
    for name in SCALARS:
        table.add_row(name, _text(shown(values[name])), _origin(found, name))
    for name in sorted(found.settings.models):
        given = ", ".join(f"{key} {_plain(value)}" for key, value in shown(_given(found, name)).items())
        table.add_row(Text(printable(f"models.{name}")), Text(printable(given)), _origin(found, "models"))
    return table


def _origin(found: Found, name: str) -> Text:
    origin = found.origins[name]
    if origin == "file":
        return Text(FILE, style="green")
    if origin == "environment":
        return Text(variable(name), style="cyan")
    return Text(origin, style="dim" if origin == "default" else "yellow")


def _text(value: Any) -> Text:
    return Text("-", style="dim") if value in (None, []) else Text(printable(_plain(value)))


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
