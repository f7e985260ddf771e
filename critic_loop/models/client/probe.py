"""What an endpoint can really do, found out by asking it.

Knows a question for each capability and how to read the answer. Does not know where findings are kept
(`models.client.findings`). A probe sends about ten short requests, which cost what any request costs.

A refusal shows that a capability is missing only if the endpoint answers the same question without it.
"""

from __future__ import annotations

import logging
import time
import zlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import orjson
from pydantic import JsonValue

from critic_loop.core.errors import AuthFailed, EndpointError, ModelError
from critic_loop.core.messages import Image, user
from critic_loop.core.protocols import OutputSchema, Request, ToolSpec
from critic_loop.core.records import Sampling
from critic_loop.models.client.chat import ChatModel
from critic_loop.models.client.findings import Capability, Finding, Findings
from critic_loop.models.wire.common import Json
from critic_loop.models.wire.health_check import HEALTH_CHECK, PUZZLE
from critic_loop.models.wire.profiles import Profile

_TIMEOUT_S = 60.0
_TOKENS = 64
_SCORED = "8"
"""A text that the tokenizer of the demo's model has a token for, too."""
_log = logging.getLogger(__name__)


async def probe(model: ChatModel) -> Findings:
    """Find out what `model` can do.

    Raises:
        ModelError: it does not answer a plain question.
    """
    await model.complete(_ask(HEALTH_CHECK, max_tokens=1))
    # what is asked for must be sent, whatever the profile says, and must not be left out behind our back
    bold = replace(model.profile, many_choices=True, output="json_schema")
    asker = _Asker(model, bold)
    found: dict[Capability, Finding] = {}
    for name, look in _PROBES.items():
        if bold.dialect == "messages" and name in _NOT_IN_MESSAGES:
            found[name] = Finding(can=False, text="the format has no field for it")
        else:
            found[name] = await _found(partial(look, asker), asker)
        _log.info("%s: %s: %s", model.spec, name, found[name].can)
    return Findings(backend=bold.name, name=model.name, url=model.url, at=time.time(), found=found)


async def _found(look: Callable[[], Awaitable[Finding]], asker: _Asker, *, again: bool = True) -> Finding:
    """Return what a question showed; a transient error (a full server, a broken connection) shows nothing.

    A question on a broken connection is sent once more: the answer to the question before may have closed it.
    """
    try:
        return await look()
    except AuthFailed:
        raise
    except ModelError as error:
        said = error.message.removeprefix(f"Model {asker.model.name!r} at {asker.model.url} ")
        if again and isinstance(error, EndpointError) and error.transient and error.status is None:
            return await _found(look, asker, again=False)
        if not _is_refusal(error):
            return Finding(can=None, text=said)
        if not await asker.answers_plain_question():
            return Finding(can=None, text=f"the question was refused without it, too: {said}")
        return Finding(can=False, text=said)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        return Finding(can=False, text=f"answered something else ({type(error).__name__}: {error})")


def _is_refusal(error: ModelError) -> bool:
    status = error.status if isinstance(error, EndpointError) else None
    return status is not None and 400 <= status < 500


class _Asker:
    """Asks an endpoint one thing at a time."""

    def __init__(self, model: ChatModel, profile: Profile) -> None:
        self.model = model
        self.profile = profile
        self._plain = _ask(HEALTH_CHECK)

    async def ask(self, request: Request, **fields: Any) -> Json:
        """Return the body that the endpoint answers with."""
        self._plain = _ask(request.messages[-1].text, max_tokens=request.sampling.max_tokens or _TOKENS)
        return await self.model.ask(request, profile=self.profile, fields=fields, timeout_s=_TIMEOUT_S)

    async def answers_plain_question(self) -> bool:
        """Whether the endpoint answers the last request without its picture and its fields.

        It is asked for as many tokens: a request that does not fit its context is refused for that alone.
        """
        try:
            await self.ask(self._plain)
        except ModelError:
            return False
        return True

    async def text(self, request: Request, **fields: Any) -> str:
        """Return the text of the endpoint's answer."""
        body = await self.ask(request, **fields)
        if self.profile.dialect == "messages":
            return "".join(block.get("text", "") for block in body["content"])
        return body["choices"][0]["message"].get("content") or ""


def _ask(text: str, *, max_tokens: int = _TOKENS, **sampling: Any) -> Request:
    return Request(messages=(user(text),), sampling=Sampling(max_tokens=max_tokens, **sampling))


# -- one look each -----------------------------------------------------------------------------


async def _tools(asker: _Asker) -> Finding:
    parameters: dict[str, JsonValue] = {
        "type": "object",
        "properties": {"word": {"type": "string", "enum": ["ok"]}},
        "required": ["word"],
        "additionalProperties": False,
    }
    tool = ToolSpec(name="say", description="Says a word.", parameters=parameters)
    request = replace(_ask(f"Call the tool with the word ok. {PUZZLE}"), tools=(tool,))
    if asker.profile.dialect == "messages":
        body = await asker.ask(request, tool_choice={"type": "tool", "name": "say"})
        called = any(block["type"] == "tool_use" for block in body["content"])
        cut = body["stop_reason"] == "max_tokens"
    else:
        forced = {"type": "function", "function": {"name": "say"}}
        (choice,) = (await asker.ask(request, tool_choice=forced))["choices"]
        called, cut = bool(choice["message"].get("tool_calls")), choice["finish_reason"] == "length"
    if not called and cut:
        return Finding(can=None, text="the answer was cut off")
    return Finding(can=called, text="" if called else "answered without calling the tool")


async def _json_schema(asker: _Asker) -> Finding:
    schema: dict[str, JsonValue] = {
        "type": "object",
        "properties": {"colour": {"type": "string", "enum": ["red", "blue"]}},
        "required": ["colour"],
        "additionalProperties": False,
    }
    request = replace(
        _ask(f"Write a line of a poem. {PUZZLE}"), output=OutputSchema(name="colour", schema=schema)
    )
    said = await asker.text(request)
    try:
        fits = orjson.loads(said)["colour"] in ("red", "blue")
    except (orjson.JSONDecodeError, TypeError, KeyError):
        fits = False
    return Finding(can=fits, text="" if fits else "answered without following the schema")


async def _logprobs(asker: _Asker) -> Finding:
    body = await asker.ask(_ask(HEALTH_CHECK, logprobs=True, max_tokens=4))
    entries = (body["choices"][0].get("logprobs") or {}).get("content")
    return _served(bool(entries), "no log-probabilities came")


async def _prompt_logprobs(asker: _Asker) -> Finding:
    request = replace(_ask(HEALTH_CHECK), score=(_SCORED,), choices=1, timeout_s=_TIMEOUT_S)
    (choice,) = (await asker.model.scored(request, replace(asker.profile, prompt_logprobs=True))).choices
    return _served(bool(choice.logprobs), "no log-probabilities came")


async def _token_ids(asker: _Asker) -> Finding:
    body = await asker.ask(_ask(HEALTH_CHECK, max_tokens=4), return_token_ids=True)
    served = bool(body["choices"][0].get("token_ids") and body.get("prompt_token_ids"))
    return _served(served, "no token ids came")


async def _n(asker: _Asker) -> Finding:
    body = await asker.ask(replace(_ask(HEALTH_CHECK, max_tokens=4), choices=2))
    got = len(body["choices"])
    return Finding(can=got == 2, text="" if got == 2 else f"{got} came instead of 2")


async def _seed(asker: _Asker) -> Finding:
    question = f"Write eight words at random. {PUZZLE}"
    said = [await asker.text(_ask(question, seed=seed, max_tokens=24)) for seed in (1, 1, 2)]
    if said[0] != said[1]:
        return Finding(can=False, text="the same seed gave another answer")
    if said[0] == said[2]:
        return Finding(can=None, text="another seed gave the same answer")
    return Finding(can=True)


async def _images(asker: _Asker) -> Finding:
    picture = Image.of(_PIXELS, "image/png")
    await asker.ask(Request(messages=(user(HEALTH_CHECK, picture),), sampling=Sampling(max_tokens=4)))
    return Finding(can=True, text="a picture was taken; whether it is seen was not asked")


def _served(served: bool, otherwise: str) -> Finding:  # noqa: FBT001
    return Finding(can=served, text="" if served else otherwise)


def _png(size: int) -> bytes:
    """Return a white square."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return len(data).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")

    head = size.to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    rows = zlib.compress((b"\0" + b"\xff" * size) * size)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


_PIXELS = _png(32)
_PROBES: Mapping[Capability, Callable[[_Asker], Awaitable[Finding]]] = {
    "tools": _tools,
    "json_schema": _json_schema,
    "logprobs": _logprobs,
    "prompt_logprobs": _prompt_logprobs,
    "token_ids": _token_ids,
    "n": _n,
    "seed": _seed,
    "images": _images,
}
_NOT_IN_MESSAGES = frozenset({"logprobs", "prompt_logprobs", "token_ids", "n", "seed"})
