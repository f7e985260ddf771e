"""What is checked of a server before it is used: its list of models, and its first token.

Knows what vLLM answers. Does not know processes, nor what follows from what is found (`vllm.server`).
"""

from __future__ import annotations

import http.client
import logging
from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias

import orjson
from pydantic import JsonValue

from critic_loop.core.errors import ModelError
from critic_loop.models.wire.health_check import HEALTH_CHECK
from critic_loop.models.wire.model_list import found, listed, offer

_log = logging.getLogger(__name__)
_TIMEOUT_S = 120.0
_FAR = 0.5
Token: TypeAlias = tuple[str, float | None]
"""A token and its log-probability, where that is served."""


class Ask(Protocol):
    """Sends something to a server and returns status and body; blocks."""

    def __call__(
        self, method: str, path: str, body: dict[str, JsonValue] | None = None, *, timeout_s: float = 60.0
    ) -> tuple[int, bytes]:
        """Raise OSError or HTTPException where nothing answers."""
        ...


def misnamed(ask: Ask, name: str, arguments: Mapping[str, JsonValue]) -> str:
    """Return under which other names a model is served, if it is not under its own.

    A server without a list passes. Another number of tokens than in `arguments` is logged.
    """
    served = listed(_got(ask, "/v1/models")) or ()
    if not served:
        return ""
    if (ours := found(name, served)) is None:
        return f"is up, but serves {offer(name, served)}, and nothing of this name"
    version, most = _got(ask, "/version").get("version", "of an unknown version"), ours.context_tokens
    _log.info("vLLM %s serves %r, up to %s tokens", version, name, most or "?")
    wanted = arguments.get("max-model-len")
    if most is not None and isinstance(wanted, int) and wanted not in (most, -1):
        text = "vLLM serving %r takes %d tokens, and not the %d of max-model-len in serve.arguments"
        _log.warning(text, name, most, wanted)
    return ""


def _got(ask: Ask, path: str) -> dict[str, Any]:
    """Return the object at a path; empty if there is none."""
    try:
        status, said = ask("GET", path)
        answer = orjson.loads(said) if status == 200 else None
    except (OSError, http.client.HTTPException, ValueError):
        return {}
    return answer if isinstance(answer, dict) else {}


def first_token(ask: Ask, name: str) -> Token:
    """Return the first token of a fixed answer.

    Raises:
        ModelError: there is none; the message says what the server did instead.
    """
    body: dict[str, JsonValue] = {
        "model": name,
        "messages": [{"role": "user", "content": HEALTH_CHECK}],
        "max_completion_tokens": 1,
        "temperature": 0.0,
        "logprobs": True,
    }
    try:
        status, said = ask("POST", "/v1/chat/completions", body, timeout_s=_TIMEOUT_S)
        if status == 200:
            return _token(orjson.loads(said)["choices"][0])
    except (OSError, http.client.HTTPException, ValueError, LookupError) as error:
        raise ModelError(f"gave no answer ({type(error).__name__})") from error
    raise ModelError(f"answered {status}: {said.decode(errors='replace')}")


def _token(choice: Any) -> Token:
    """Return the first token of an answer; what a model thinks has tokens, too, and no text."""
    tokens = (choice.get("logprobs") or {}).get("content") or [{}]
    text = tokens[0].get("token") or choice["message"].get("content") or ""
    return str(text), tokens[0].get("logprob")


def same(one: Token, other: Token) -> bool:
    """Return whether two greedy tokens fit the same weights; rounding may differ."""
    far = one[1] is not None and other[1] is not None and abs(one[1] - other[1]) > _FAR
    return one[0] == other[0] and not far
