"""`critic-loop models probe`: what an endpoint supports, tested once and stored.

Knows how findings are shown. `models.client.probe` tests, `models.client.findings` stores.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from rich.console import Group
from rich.table import Table
from rich.text import Text

from critic_loop.cli.documents.settings import Finding, ProbeDocument
from critic_loop.cli.terminal import Terminal
from critic_loop.core.errors import ConfigError
from critic_loop.core.printable import printable, without_secrets
from critic_loop.models.client.findings import Capability, Findings, age, load_findings, save_findings, together
from critic_loop.models.client.probe import probe as ask
from critic_loop.models.providers.specs import ModelTable, ProbeTarget, probe_targets

_WORDS: dict[Capability, str] = {
    "tools": "tools",
    "json_schema": "JSON by schema",
    "logprobs": "log-probabilities of answers",
    "prompt_logprobs": "log-probabilities of given texts",
    "token_ids": "token ids",
    "n": "several choices in one request",
    "seed": "seeds",
    "images": "images",
}


def probe(
    name: str, tables: Mapping[str, ModelTable], terminal: Terminal, *, refresh: bool, as_json: bool
) -> None:
    """Show what the endpoints behind a spec or a table's name can do; a vLLM is started and ended for it.

    Raises:
        ConfigError: the name is not that of an endpoint.
        ModelError: the endpoint does not respond.
    """
    table = tables.get(name)
    spec = name if table is None else table.spec
    endpoints = probe_targets(spec, settings=table.settings if table else None)
    if not endpoints:
        raise ConfigError(
            f"{without_secrets(spec)!r} is no endpoint, and only endpoints are probed.",
            hint="Name one by its address, as in chat:NAME@http://HOST:PORT/v1.",
        )
    kept = [None if refresh else load_findings(one.backend, one.place, one.name) for one in endpoints]
    findings = together(
        [had or asyncio.run(_asked(one, terminal)) for one, had in zip(endpoints, kept, strict=True)]
    )
    if as_json:
        terminal.document(_document(without_secrets(spec), findings, kept=all(kept)))
    else:
        terminal.out.print(_page(without_secrets(spec), findings))
        if any(kept):
            terminal.note("Kept from then; --refresh asks again.")


async def _asked(endpoint: ProbeTarget, terminal: Terminal) -> Findings:
    async with endpoint.opened() as model:
        findings = await ask(model)
    findings = findings.model_copy(
        update={"backend": endpoint.backend, "url": endpoint.place, "name": endpoint.name}
    )
    try:
        save_findings(findings)
    except OSError as error:
        terminal.note(f"Not kept: {error}.")
    return findings


def _document(spec: str, findings: Findings, *, kept: bool) -> ProbeDocument:
    return ProbeDocument(
        spec=spec,
        backend=findings.backend,
        name=findings.name,
        url=findings.url,
        at=findings.at,
        kept=kept,
        found={name: Finding(**findings.of(name).model_dump()) for name in _WORDS},
    )


def _page(spec: str, findings: Findings) -> Group:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold", style="dim")
    for name, words in _WORDS.items():
        one = findings.of(name)
        table.add_row(f"  {words}", _said(one.can), Text(printable(one.text)))
    return Group(Text.assemble((printable(spec), "bold"), f"  probed {age(findings.at)}"), table)


def _said(can: bool | None) -> Text:  # noqa: FBT001
    if can is None:
        return Text("unknown", style="yellow")
    return Text("yes", style="green") if can else Text("no", style="red")
