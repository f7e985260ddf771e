"""Failures of an endpoint as typed errors.

Knows statuses, error bodies and what to advise. Never sees a key, and removes what looks like one
from texts that an endpoint sent. Does not know which errors are tried again (`models.wrappers.retry`).
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, cast

import orjson

from critic_loop.core.errors import (
    AuthFailed,
    ContextOverflow,
    CreditExhausted,
    EndpointError,
    ModelError,
    NoSuchModel,
    RateLimited,
    Refused,
)

_OVERFLOW = re.compile(
    r"maximum context length|context[ _]length|context window|context size|prompt is too long"
    r"|input is too long|longer than the maximum model length|too many tokens|max_model_len",
    re.IGNORECASE,
)
_NO_CREDIT = {
    "insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "billing_error",
    "payment_required",
}  # fmt: skip
_FILTERED = re.compile(r"blocked by content filtering", re.IGNORECASE)
_EMPTY = re.compile(r"credit balance is too low", re.IGNORECASE)
_STATUS_OF = {
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "rate_limit_error": 429,
    "overloaded_error": 529,
}
"""What an error that comes with a good status, in the middle of a stream, would else have come with."""
_TRANSIENT = {408, 409, 425, 500, 502, 503, 504, 520, 522, 524, 529}
_LACKS = re.compile(
    r"not supported|unsupported|n[o']t support\b|deprecated|not permitted|unavailable|unrecognized|cannot both"
    r"|may only be set",
    re.IGNORECASE,
)
_OUTPUT = re.compile(r"json[_ ]schema|output[_ ]format|structured[_ ]output", re.IGNORECASE)
_KEY_LIKE = re.compile(r"\b(?:sk|pk|key|gsk|xai|hf)[-_][A-Za-z0-9_*.-]{4,}|Bearer\s+\S+")


def failure(
    status: int, body: bytes, headers: Mapping[str, str], *, endpoint: str, key_env: str, secret: str = ""
) -> ModelError:
    """Return the error that an answer with a bad status (or an error in its body) stands for.

    Args:
        status: the HTTP status.
        body: what came with it; JSON or anything else.
        headers: the answer's headers, looked up by lower-case name.
        endpoint: model and address, for the message.
        key_env: the variable that holds the key, for the hint.
        secret: a text to remove from the message: the key that was sent.
    """
    details = _details(body)
    code = str(details.get("code") or details.get("type") or "")
    status = _STATUS_OF.get(code, status) if status == 200 else status
    said = cleaned(str(details.get("message") or ""), secret)
    what = f"{endpoint} answered {status}" + (f": {said}" if said else "") + _stop(said)
    if status == 402 or _NO_CREDIT & {code, str(details.get("type"))} or _EMPTY.search(said):
        return CreditExhausted(what, hint="Add credit to the account, or bind the slot to another model.")
    if status in (401, 403):
        return AuthFailed(what, hint=_key_hint(key_env, sent=bool(secret)))
    if status == 429:
        pause = retry_after_s(headers)
        return RateLimited(what, hint="Lower the calls in flight, or wait.", retry_after_s=pause)
    return _request_failure(status, code, said, what, headers)


def _request_failure(status: int, code: str, said: str, what: str, headers: Mapping[str, str]) -> ModelError:
    if code == "context_length_exceeded" or (status in (400, 413, 422) and _OVERFLOW.search(said)):
        return ContextOverflow(what, hint="Shorten the prompt, show less, or use a longer context.")
    if code in ("content_filter", "content_policy_violation") or _FILTERED.search(said):
        return Refused(what, hint="The endpoint's filter declined the prompt.")
    if status == 404:
        return NoSuchModel(what, hint="Check the model's name and the address; /v1/models lists the names.")
    transient = status in _TRANSIENT or status >= 500 or status == 200
    hint = "" if transient else "The request will fail in the same way again."
    pause = retry_after_s(headers) if transient else None
    return EndpointError(what, hint=hint, status=status, transient=transient, retry_after_s=pause)


def rejected_parameter(body: bytes, optional: Sequence[str], output_field: str) -> str | None:
    """Return the body field that an endpoint rejects as unsupported; None if it rejects something else.

    Args:
        body: of an answer with status 400.
        optional: the fields that may be meant, where only the message names one.
        output_field: the one that carries an output's schema, which messages call by many names.
    """
    details = _details(body)
    param, said = details.get("param"), str(details.get("message") or "")
    if details.get("code") in ("unsupported_parameter", "unsupported_value"):
        return param if isinstance(param, str) else None
    if not _LACKS.search(said):
        return None
    if isinstance(param, str) and param in optional:
        return param
    named = [match.group() for match in re.finditer(r"\w+", said) if match.group() in optional]
    if named:
        return named[-1]  # "`temperature` and `top_p` cannot both be specified"
    return output_field if _OUTPUT.search(said) else None


def _details(body: bytes) -> dict[str, Any]:
    """Return the error object in a body; plain text becomes its message."""
    try:
        parsed: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {"message": body[:300].decode(errors="replace").strip()}
    error: Any = cast("dict[str, Any]", parsed).get("error", parsed) if isinstance(parsed, dict) else parsed
    if isinstance(error, dict):
        return cast("dict[str, Any]", error)
    return {"message": str(error)}


def cleaned(text: str, secret: str) -> str:
    """Return one line of text without the key, or anything that looks like one."""
    text = " ".join(text.split())
    if secret:
        text = text.replace(secret, "[key]")
    return _KEY_LIKE.sub("[key]", text)[:500]


def _stop(said: str) -> str:
    return "" if said.endswith((".", "!", "?")) else "."


def _key_hint(key_env: str, *, sent: bool) -> str:
    if not key_env:
        return "No variable is named that holds a key for it: set key_env in the model's settings."
    return f"Check the key in {key_env}." if sent else f"Set {key_env} to a key for this endpoint."


_LIMITS = tuple(
    (form.format(what, "remaining"), form.format(what, "reset"))
    for form, what in [
        *(("x-ratelimit-{1}-{0}", what) for what in ("requests", "tokens")),
        *(("anthropic-ratelimit-{0}-{1}", w) for w in ("requests", "tokens", "input-tokens", "output-tokens")),
        ("x-ratelimit-{1}", ""),
    ]
)
"""Headers that say how much of a limit is left, and when it is full again."""
_DURATION = re.compile(
    r"(?:(?P<h>\d+)h)?(?:(?P<m>\d+)m(?!s))?(?:(?P<s>\d+(?:\.\d+)?)s)?(?:(?P<ms>\d+(?:\.\d+)?)ms)?"
)
_LONGEST_HOLD_S = 60.0


def hold_s(headers: Mapping[str, str]) -> float:
    """Return how long to send nothing more, in seconds: until a limit of which nothing is left is reset."""
    waits = [reset_s(headers.get(reset, "")) for left, reset in _LIMITS if headers.get(left) in ("0", "0.0")]
    return min(max(waits, default=0.0), _LONGEST_HOLD_S)


def reset_s(text: str) -> float:
    """Return when a limit is reset, from now, in seconds; 0 where that cannot be read.

    Endpoints write `6m0s`, `17.5`, seconds or milliseconds since the epoch, or a date.
    """
    try:
        if re.fullmatch(r"\d+(\.\d+)?", text):
            number = float(text)
            at = number / 1000 if number > 1e11 else number
            return max(0.0, at - time.time()) if at > 1e8 else at
        if (match := _DURATION.fullmatch(text)) and text:
            parts = {unit: float(value or 0) for unit, value in match.groupdict().items()}
            return parts["h"] * 3600 + parts["m"] * 60 + parts["s"] + parts["ms"] / 1000
        return max(0.0, datetime.fromisoformat(text).timestamp() - time.time()) if text else 0.0
    except ValueError:
        return 0.0


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the pause that an endpoint asks for in seconds; None if it does not, or not clearly."""
    try:
        if (milliseconds := headers.get("retry-after-ms")) is not None:
            return max(0.0, float(milliseconds) / 1000)
        if (value := headers.get("retry-after")) is None:
            return hold_s(headers) or None
        if re.fullmatch(r"\s*\d+(\.\d+)?\s*", value):
            return float(value)
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None
