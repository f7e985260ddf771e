"""Logs to stderr: structlog over the standard library's logging of `critic_loop` and its children.

Whatever the library binds to structlog's context (tree and attempt ids) is in every line. Knows
handlers and renderers. Does not know what is logged.
"""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from enum import StrEnum
from typing import Any

from rich.console import Console

from critic_loop.core.printable import printable


class LogLevel(StrEnum):
    """How much is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """For people, or one JSON object a line."""

    CONSOLE = "console"
    JSON = "json"


class ConsoleHandler(logging.Handler):
    """Writes through a rich console, so that lines do not tear a progress display."""

    def __init__(self, console: Console) -> None:
        """Write to `console`."""
        super().__init__()
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line, as it is."""
        try:
            self.console.out(self.format(record), highlight=False)
        except Exception:  # noqa: BLE001  # the standard library's own rule: logging never raises
            self.handleError(record)


def configure(level: LogLevel, form: LogFormat, console: Console) -> None:
    """Send the logs of `critic_loop` to `console`, in place of an earlier configuration."""
    import structlog

    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    before: list[Any] = [_printable]
    renderer: Any = structlog.dev.ConsoleRenderer(colors=console.is_terminal and not console.no_color)
    if form is LogFormat.JSON:
        shared.append(structlog.processors.format_exc_info)
        before, renderer = [], structlog.processors.JSONRenderer(ensure_ascii=False)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    handler = ConsoleHandler(console)
    remove_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[remove_meta, *before, renderer]
        )
    )
    logger = logging.getLogger("critic_loop")
    logger.handlers = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False


def _printable(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Escape control characters in texts of endpoints and models, before colours are added."""
    return {key: printable(value) if isinstance(value, str) else value for key, value in event.items()}
