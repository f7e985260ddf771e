"""Streamed chat completions put together into the body that would have come without streaming.

Knows server-sent events and chat-completion chunks. Does not know what the body means
(`wire.chat_completions`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from critic_loop.models.wire.common import Json


class Events:
    """Takes bytes as they arrive, gives the data of each complete event."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the data lines that `data` completes."""
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            if line.startswith(b"data:"):
                yield line[5:].strip()


class Assembly:
    """Adds up chunks. `body` is what the same answer would have been without streaming."""

    def __init__(self) -> None:
        self._body: Json = {}
        self._choices: dict[int, _Growing] = {}
        self.done = False
        """Whether the end marker came."""
        self.error: bytes | None = None
        """An error that came in place of a chunk, as sent."""

    @property
    def complete(self) -> bool:
        """Whether the stream ended as it should: marked, or with a reason for every choice."""
        finished = bool(self._choices) and all(choice.finish_reason for choice in self._choices.values())
        return self.done or finished

    def add(self, data: bytes) -> str:
        """Add one event's data; return the new text of the first choice.

        Raises:
            ValueError: the data is not a chunk.
        """
        if data == b"[DONE]":
            self.done = True
            return ""
        chunk = orjson.loads(data)
        choices = chunk.pop("choices", None) or []
        if not choices and chunk.get("error"):
            self.error = data
        self._body |= {key: value for key, value in chunk.items() if value is not None}
        return "".join([self._add_choice(choice) for choice in choices])

    def _add_choice(self, choice: Mapping[str, Any]) -> str:
        index = choice.get("index") or 0
        piece = self._choices.setdefault(index, _Growing()).add(choice)
        return piece if index == 0 else ""

    def body(self) -> Json:
        """Return the whole."""
        choices = [choice.whole(index) for index, choice in sorted(self._choices.items())]
        return self._body | {"choices": choices}


class _Growing:
    """One choice while it grows."""

    def __init__(self) -> None:
        self.finish_reason: str | None = None
        self._texts: dict[str, list[str]] = {}
        self._calls: dict[int, Json] = {}
        self._token_ids: list[int] | None = None
        self._logprobs: list[Json] | None = None
        self._stopped_by: Any = None
        self._other: Json = {}

    def add(self, choice: Mapping[str, Any]) -> str:
        delta = choice.get("delta") or {}
        for field, value in delta.items():
            if field in ("content", "reasoning", "reasoning_content", "refusal") and value:
                self._texts.setdefault(field, []).append(value)
            elif field == "tool_calls":
                for call in value or ():
                    self._add_call(call)
            elif isinstance(value, list):  # a provider's own blocks
                self._other[field] = [*self._other.get(field, []), *value]
        self.finish_reason = choice.get("finish_reason") or self.finish_reason
        self._stopped_by = choice.get("stop_reason") or choice.get("matched_stop") or self._stopped_by
        if choice.get("token_ids") is not None:
            self._token_ids = self._token_ids or []
            self._token_ids.extend(choice["token_ids"])
        if (entries := (choice.get("logprobs") or {}).get("content")) is not None:
            self._logprobs = self._logprobs or []
            self._logprobs.extend(entries)
        return delta.get("content") or ""

    def _add_call(self, piece: Mapping[str, Any]) -> None:
        index = piece.get("index") or 0
        call = self._calls.setdefault(index, {"id": "", "function": {"name": "", "arguments": ""}})
        call["id"] = piece.get("id") or call["id"]
        function = piece.get("function") or {}
        call["function"]["name"] += function.get("name") or ""
        call["function"]["arguments"] += function.get("arguments") or ""

    def whole(self, index: int) -> Json:
        message: Json = {field: "".join(pieces) for field, pieces in self._texts.items()}
        message |= {"role": "assistant", **self._other}
        if self._calls:
            message["tool_calls"] = [call for _, call in sorted(self._calls.items())]
        return {
            "index": index,
            "message": message,
            "finish_reason": self.finish_reason,
            "stop_reason": self._stopped_by,
            "token_ids": self._trusted_ids(),
            "logprobs": None if self._logprobs is None else {"content": self._logprobs},
        }

    def _trusted_ids(self) -> list[int] | None:
        """Return the token ids unless their number shows that parsers on the way lost some."""
        lost = self._logprobs is not None and len(self._logprobs) != len(self._token_ids or ())
        return None if lost else self._token_ids
