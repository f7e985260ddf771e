"""Where a command writes: results to stdout, everything else to stderr.

With `--json`, stdout holds one JSON document and nothing else, also when the command fails. Knows
consoles and exit codes. Does not know what is printed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.text import Text

from critic_loop.core.errors import AssetError, ConfigError, CriticLoopError
from critic_loop.core.printable import printable

if TYPE_CHECKING:
    from rich.progress import Progress

FAILURE = 1
USAGE = 2
INTERRUPTED = 130


class UsageProblem(ConfigError):
    """The arguments are wrong; `details` has a line for each problem."""

    def __init__(self, message: str, *, hint: str = "", details: Sequence[str] = ()) -> None:
        """Store what is wrong, one line for each place."""
        super().__init__(message, hint=hint)
        self.details = tuple(details)


class Interrupted(CriticLoopError):
    """A signal ended the command at once.

    Calls in flight were cancelled; what had settled is stored, and the same command resumes from there.
    """

    code = "interrupted"


def _stdout() -> Console:
    return Console(highlight=False)


def _stderr() -> Console:
    return Console(stderr=True, highlight=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminal:
    """What a command writes to, and how it reports errors."""

    out: Console = field(default_factory=_stdout)
    err: Console = field(default_factory=_stderr)
    traceback: bool = False
    problem: CriticLoopError | None = None
    """What was wrong before the command began, in its configuration: told where the command would begin."""

    def note(self, text: str, *, style: str = "dim") -> None:
        """Print a note to stderr."""
        self.err.print(Text(printable(text), style=style), soft_wrap=True)

    def fact(self, name: str, text: str) -> None:
        """Print a setting to stderr, before work begins."""
        self.err.print(Text.assemble((f"{name:<8}", "dim"), " ", printable(text)), soft_wrap=True)

    def document(self, data: Any) -> None:
        """Write the JSON document: a pydantic model of `cli.documents`, or JSON-like data."""
        import orjson
        from pydantic import BaseModel

        data = data.model_dump(mode="json") if isinstance(data, BaseModel) else data
        options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
        text = orjson.dumps(data, option=options)
        sys.stdout.buffer.write(text) if hasattr(sys.stdout, "buffer") else sys.stdout.write(text.decode())
        sys.stdout.flush()

    def progress(self) -> Progress:
        """Return a progress display on stderr; silent where stderr is no terminal."""
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TimeElapsedColumn,
        )

        return Progress(
            SpinnerColumn(finished_text="✓"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self.err,
            disable=not self.err.is_terminal,
        )

    @contextmanager
    def failing(self, *, as_json: bool, resume: str = "") -> Generator[None]:
        """Turn errors into one clear message and an exit code.

        Args:
            as_json: whether stdout gets a document about the error.
            resume: how an interrupted command is resumed.
        """
        try:
            self._require_settings()
            yield
        except CriticLoopError as error:
            self._explain(error, as_json=as_json)
            raise typer.Exit(USAGE if isinstance(error, ConfigError | AssetError) else FAILURE) from None
        except KeyboardInterrupt:
            self.note(f"Interrupted. {resume}".rstrip(), style="yellow")
            if as_json:
                self._document_of(Interrupted("Interrupted.", hint=resume))
            raise typer.Exit(INTERRUPTED) from None
        except (typer.Exit, typer.Abort, BrokenPipeError):
            raise
        except OSError as error:
            _drop_what_cannot_be_written()
            self._explain(_of_the_system(error), as_json=as_json)
            raise typer.Exit(FAILURE) from None
        except Exception as error:  # noqa: BLE001  # the last stop: no traceback unless asked for
            hint = "This is a defect in Critic Loop or in code that it was given; --traceback shows where."
            self._explain(CriticLoopError(f"{type(error).__name__}: {error}", hint=hint), as_json=as_json)
            raise typer.Exit(FAILURE) from None

    def _require_settings(self) -> None:
        if self.problem is not None:
            raise self.problem

    def _explain(self, error: CriticLoopError, *, as_json: bool) -> None:
        details = error.details if isinstance(error, UsageProblem) else ()
        if self.traceback:
            self.err.print_exception()
        self.err.print(Text.assemble(("error: ", "bold red"), printable(error.message)), soft_wrap=True)
        for line in details:
            self.err.print(Text(f"  {printable(line)}"), soft_wrap=True)
        if error.hint:
            self.err.print(Text.assemble(("hint: ", "bold cyan"), printable(error.hint)), soft_wrap=True)
        if as_json:
            self._document_of(error, details)

    def _document_of(self, error: CriticLoopError, details: Sequence[str] = ()) -> None:
        from critic_loop.cli.documents.base import Error, ErrorDocument

        try:
            self.document(ErrorDocument(error=Error.of(error, details)))
        except BrokenPipeError:
            raise
        except OSError:  # stdout takes nothing; stderr has it all
            _drop_what_cannot_be_written()


def _drop_what_cannot_be_written() -> None:
    """Discard what stdout still holds and cannot write, so that Python does not fail at exit."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError:
        with suppress(OSError), open(os.devnull, "wb") as nowhere:  # noqa: PTH123  # a device
            os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _of_the_system(error: OSError) -> CriticLoopError:
    """Return an error of the operating system as one with a hint."""
    what = f"{error.filename}: {error.strerror}." if error.filename else f"{error}."
    return CriticLoopError(what, hint="Check the path, its permissions and the space that is left.")
