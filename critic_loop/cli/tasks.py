"""Tasks from an argument, from standard input, or from a file of JSON lines.

Every line of a file is checked before anything is sent; each problem names file, line, key
and what was expected. Knows text and JSON. Does not know loops.
"""

from __future__ import annotations

import difflib
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from critic_loop.assets.problems import explain
from critic_loop.cli.terminal import UsageProblem
from critic_loop.core.messages import Message
from critic_loop.core.records import Task

_KEYS = tuple(Task.model_fields)
_MOST_SHOWN = 10
_EXAMPLE = (
    'Each line is like {"prompt": "What is 6 * 7?", "reference": "42"}; "prompt" may be a list of messages.'
)


def tasks_from(text: str | None, file: str | None) -> list[Task]:
    """Return the tasks that a command line names; `-` means standard input.

    Raises:
        UsageProblem: none or both were given, a file cannot be read, or a line is not a task.
    """
    if (text is None) == (file is None):
        both = "a task and --file were given; give one of them." if text else "no task was given."
        raise UsageProblem(
            both, hint='Write critic-loop run "TASK", or --file tasks.jsonl, or - for standard input.'
        )
    if file is not None:
        return _from_lines("standard input" if file == "-" else file, _lines(_read(file)))
    words = (_from_stdin() if text == "-" else text or "").strip()
    if not words:
        raise UsageProblem("the task is empty.")
    if any(
        "\ud800" <= character <= "\udfff" for character in words
    ):  # bytes that the shell passed on as they are
        raise UsageProblem("the task is not UTF-8 text.", hint="Write it into a file of JSON lines, as UTF-8.")
    return [Task.of(words)]


def _read(file: str) -> str:
    if file == "-":
        return _from_stdin()
    try:
        return Path(file).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise UsageProblem(f"{file}: cannot be read: {reason}.", hint="Name a file of JSON lines.") from error


def _from_stdin() -> str:
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise UsageProblem("standard input: it is not UTF-8 text.", hint="Convert it to UTF-8.") from error


def _lines(text: str) -> list[str]:
    """Return the lines of a file. Only a newline ends one: JSON strings may hold Unicode's other line ends."""
    return text.removesuffix("\n").split("\n") if text else []


def _from_lines(name: str, lines: Sequence[str]) -> list[Task]:
    tasks: list[Task] = []
    problems: list[str] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            tasks.append(task_in(line))
        except ValueError as error:
            problems.append(f"{name}:{number}: {error}")
    problems += _shared_ids(name, tasks)
    if problems:
        shown = problems[:_MOST_SHOWN]
        if len(problems) > len(shown):
            shown.append(f"... and {len(problems) - len(shown)} more")
        raise UsageProblem(
            f"{len(problems)} of {len(lines)} lines cannot be used; nothing was sent.",
            hint=_EXAMPLE,
            details=shown,
        )
    if not tasks:
        raise UsageProblem(f"{name}: there is no task in it.", hint=_EXAMPLE)
    return list(_numbered(tasks))


def task_in(line: str) -> Task:
    """Return the task in one line of JSON.

    Raises:
        ValueError: says which key is wrong and what was expected.
    """
    import orjson

    try:
        data: Any = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}.") from error
    if not isinstance(data, dict):
        kind = type(data).__name__
        raise ValueError(f"expected an object with a key 'prompt', not {kind}.")  # noqa: TRY004  # bad data
    if unknown := [key for key in data if key not in _KEYS]:
        near = difflib.get_close_matches(unknown[0], _KEYS, n=1)
        guess = f"did you mean {near[0]!r}?" if near else f"expected {', '.join(_KEYS)}."
        raise ValueError(f"unknown key {unknown[0]!r}; {guess}")
    fields = {key: value for key, value in data.items() if key != "prompt"}
    try:
        return Task.of(_prompt(data.get("prompt")), **fields)
    except ValidationError as error:
        raise ValueError(explain(error)) from error


def _prompt(given: Any) -> str | tuple[Message, ...]:
    if isinstance(given, str) and given.strip():
        return given
    if isinstance(given, list) and given:
        return tuple(_message(number, item) for number, item in enumerate(given))
    raise ValueError(f"key 'prompt': expected a text or a list of messages, not {_brief(given)}.")


def _message(number: int, given: Any) -> Message:
    """Return a message written as chat completions do (`content`), or as records do (`parts`)."""
    if not isinstance(given, Mapping) or "role" not in given:
        raise ValueError(
            f'key \'prompt.{number}\': expected {{"role": ..., "content": ...}}, not {_brief(given)}.'
        )
    if "parts" in given:
        return Message.model_validate(given)
    from critic_loop.models import messages_from_wire

    try:
        return messages_from_wire([given])[0]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, ValidationError):
            raise
        raise ValueError(f"key 'prompt.{number}': not a message: {error}.") from error


def _brief(given: Any) -> str:
    return "nothing" if given is None else f"{str(given)[:40]!r}"


def _shared_ids(name: str, tasks: Iterable[Task]) -> list[str]:
    """Return a problem for each id that stands for different tasks."""
    contents: dict[str, Task] = {}
    twice = [task.id for task in tasks if contents.setdefault(task.id, task) != task]
    return [f"{name}: key 'id': {task_id!r} is the id of two different tasks." for task_id in twice]


def _numbered(tasks: Iterable[Task]) -> Iterator[Task]:
    """Yield the tasks; the second of two equal ones gets an id of its own, the same in every run."""
    seen: Counter[str] = Counter()
    for task in tasks:
        seen[task.id] += 1
        copy = seen[task.id]
        yield task if copy == 1 else task.model_copy(update={"id": f"{task.id}-{copy}"})
