"""`critic-loop models`: which models are configured, which respond, and what they support.

Without `--probe`, no prompt is sent: only the list of models is requested, and only from endpoints that the
user named.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from critic_loop.cli.documents.base import Error
from critic_loop.cli.documents.settings import Key, ModelRow, ModelsDocument
from critic_loop.cli.terminal import FAILURE, Terminal
from critic_loop.core.errors import CriticLoopError, NoSuchModel, Unreachable
from critic_loop.core.messages import user
from critic_loop.core.printable import excerpt, printable, without_secrets
from critic_loop.core.protocols import Model, Request
from critic_loop.core.records import Sampling
from critic_loop.models.client.chat import ChatModel
from critic_loop.models.client.findings import age, load_findings
from critic_loop.models.providers.specs import ModelTable, backends, base_in, configured, endpoint
from critic_loop.models.slots.routes import specs_in
from critic_loop.models.transport.keys import key_of
from critic_loop.models.wire.health_check import HEALTH_CHECK
from critic_loop.models.wire.model_list import found, nearest, other_base
from critic_loop.models.wire.profiles import Profile

_PROBE_S = 60.0


@dataclass(slots=True, kw_only=True)
class Answer:
    """What is known of one configured model."""

    names: list[str]
    """The slots that it plays, and its table's name."""
    spec: str
    backend: str
    url: str | None = None
    key_env: str | None = None
    key_set: bool | None = None
    capabilities: dict[str, Any] = field(default_factory=dict[str, Any])
    about: str = ""
    answers: bool | None = None
    """None: it was not asked anything."""
    listed: bool | None = None
    """Whether the endpoint lists the model under this name; None: it lists nothing."""
    nearest: str | None = None
    latency_s: float | None = None
    """Of the list of models."""
    probe_s: float | None = None
    """Of an answer of one token."""
    error: Error | None = None


def models(
    slots: Mapping[str, str | None],
    tables: Mapping[str, ModelTable],
    terminal: Terminal,
    *,
    probe: bool,
    as_json: bool,
) -> int:
    """Show the models and return the exit code: 1 if one that is configured does not answer."""
    found = asyncio.run(_all(_wanted(slots, tables), tables, probe=probe))
    if as_json:
        terminal.document(ModelsDocument(models=[row(one) for one in found], backends=backends()))
    elif not found:
        terminal.note("No model is configured: pass --actor, set CRITIC_LOOP_ACTOR, or write critic_loop.toml.")
        terminal.note(f"Backends: {', '.join(backends())}; embedded:countdown needs no key.")
    else:
        terminal.out.print(Group(*(_page(one, probed=probe) for one in found)))
    return FAILURE if any(one.answers is False for one in found) else 0


def row(answer: Answer) -> ModelRow:
    """Return what is known of a model for a document."""
    key = None if answer.key_env is None else Key(variable=answer.key_env, set=bool(answer.key_set))
    return ModelRow(
        names=answer.names,
        spec=answer.spec,
        backend=answer.backend,
        url=answer.url,
        key=key,
        capabilities=answer.capabilities,
        about=answer.about,
        answers=answer.answers,
        listed=answer.listed,
        latency_s=answer.latency_s,
        probe_s=answer.probe_s,
        error=answer.error,
    )


def _wanted(slots: Mapping[str, str | None], tables: Mapping[str, ModelTable]) -> dict[str, list[str]]:
    """Return the specs and tables to look at, each with the names that refer to it."""
    wanted: dict[str, list[str]] = {}
    for slot, name in slots.items():
        for candidate in specs_in(name) if name is not None else ():
            wanted.setdefault(candidate, []).append(slot)
    for name in sorted(tables):
        wanted.setdefault(name, []).append(f"[models.{name}]")
    return wanted


async def _all(
    wanted: Mapping[str, Sequence[str]], tables: Mapping[str, ModelTable], *, probe: bool
) -> list[Answer]:
    each = (_one(name, list(names), tables, probe=probe) for name, names in wanted.items())
    return list(await asyncio.gather(*each))


async def _one(name: str, names: list[str], tables: Mapping[str, ModelTable], *, probe: bool) -> Answer:
    spec = tables[name].spec if name in tables else name
    answer = Answer(names=names, spec=without_secrets(spec), backend=spec.partition(":")[0])
    try:
        client = endpoint(spec, settings=tables[name].settings if name in tables else None)
        model: Model = configured(name, tables) if client is None else client
        try:
            if isinstance(model, ChatModel):
                await _ask_endpoint(model, answer)
            else:
                answer.about = _about(model)
            if probe and answer.answers is not False:
                await _ask_model(model, answer)
        finally:
            await model.aclose()
    except CriticLoopError as error:
        answer.answers = False
        answer.error = Error.of(error)
    return answer


def _about(model: Model) -> str:
    while (inner := getattr(model, "inner", None)) is not None:
        model = inner
    return " ".join((inspect.getdoc(type(model)) or "").split("\n\n")[0].split())


async def _ask_endpoint(model: ChatModel, answer: Answer) -> None:
    answer.url, answer.capabilities = model.url, capabilities(model.profile)
    if (findings := load_findings(model.profile.name, model.url, model.name)) is not None:
        answer.about = f"Probed {age(findings.at)}."
    if model.key_env:
        answer.key_env, answer.key_set = model.key_env, bool(key_of(model.key_env))
    began = time.perf_counter()
    try:
        served = await model.served()
    except NoSuchModel:
        return  # it answers, and keeps no list; only a probe can tell more
    answer.answers, answer.latency_s = True, round(time.perf_counter() - began, 3)
    if served:
        one = found(model.name, served)
        answer.listed, answer.nearest = one is not None, nearest(model.name, served)[0]
        if one is not None and one.context_tokens is not None:
            answer.about = f"{answer.about} Up to {one.context_tokens:,} tokens.".strip()
        base = base_in(answer.spec)
        if base and (other := other_base(model.name, base, served)):
            answer.about = f"{answer.about} It is an adapter of {other!r}, and not of {base!r}.".strip()


async def _ask_model(model: Model, answer: Answer) -> None:
    request = Request(messages=(user(HEALTH_CHECK),), sampling=Sampling(max_tokens=1), timeout_s=_PROBE_S)
    began = time.perf_counter()
    try:
        completion = await model.complete(request)
    except Unreachable:
        raise
    except CriticLoopError as error:
        if error.code != "refused":  # who declines answers, too
            raise
    else:
        if completion.weight_version:
            answer.about = f"{answer.about} Weights {completion.weight_version}.".strip()
    answer.answers, answer.probe_s = True, round(time.perf_counter() - began, 3)


def capabilities(profile: Profile) -> dict[str, Any]:
    """Return what a kind of endpoint is assumed to support."""
    return {
        "choices": "in one request" if profile.many_choices else "a request each",
        "output": profile.output,
        "strict_tools": profile.strict_tools,
        "reasoning": profile.reasoning_field is not None,
        "token_ids": profile.return_token_ids,
        "prompt_logprobs": profile.prompt_logprobs,
        "streaming_usage": profile.stream_usage,
        "lacks": sorted(profile.lacks),
    }


# -- for people --------------------------------------------------------------------------------


def _page(answer: Answer, *, probed: bool) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in _facts(answer, probed=probed):
        table.add_row(name, text)
    title = Text.assemble((printable(", ".join(answer.names)), "bold"), "  ", printable(answer.spec))
    return Group(title, table, Text())


def _facts(answer: Answer, *, probed: bool) -> list[tuple[str, Text]]:
    facts = [("  answers", _answers(answer, probed=probed))]
    if answer.error is not None and answer.error.hint:
        facts.append(("  hint", Text(printable(answer.error.hint), style="cyan")))
    if answer.url:
        facts.append(("  at", Text(printable(answer.url))))
    if answer.key_env:
        facts.append(("  key", Text(f"{printable(answer.key_env)}, {'set' if answer.key_set else 'not set'}")))
    if answer.capabilities:
        facts.append(("  can", Text(_can(answer.capabilities))))
    if answer.about:
        facts.append(("  about", Text(printable(answer.about))))
    return facts


def _answers(answer: Answer, *, probed: bool) -> Text:
    if answer.error is not None:
        return Text(f"no: {printable(answer.error.message)}", style="red")
    said: list[str] = []
    if answer.latency_s is not None:
        said.append(f"its list of models in {answer.latency_s:.2f} s")
    if answer.probe_s is not None:
        said.append(f"a token in {answer.probe_s:.2f} s")
    if answer.answers is None:
        return Text("not asked; --probe asks for one token" if not probed else "not asked", style="yellow")
    text = Text("yes", style="green").append(f": {', '.join(said)}", style="default")
    if answer.listed is False and answer.probe_s is None:
        near = f", but {excerpt(answer.nearest, 60)!r}" if answer.nearest else ""
        text.append(f"; the list does not hold this name{near}: --probe tells", style="yellow")
    return text


_STRICT = {
    "always": "strict tools",
    "where_possible": "strict tools where possible",
    "never": "no strict tools",
}
_SERVED = (
    ("reasoning", "reasoning kept"),
    ("token_ids", "token ids"),
    ("prompt_logprobs", "log-probabilities of given texts"),
)


def _can(given: Mapping[str, Any]) -> str:
    words = [f"several choices {given['choices']}"]
    if given["output"]:
        words.append({"json_schema": "JSON by schema", "json_object": "JSON"}[given["output"]])
    words += [_STRICT[given["strict_tools"]]]
    words += [word for key, word in _SERVED if given[key]]
    return ", ".join(words)
