"""A planted key is sent to its server and stands nowhere else: every file, stream, log line, repr and error."""

from __future__ import annotations

import base64
import gc
import logging
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

import critic_loop as cl
from critic_loop.core.errors import AuthFailed
from critic_loop.models import ModelSettings, resolve
from critic_loop.models.transport import keys
from critic_loop.models.transport.endpoint import Endpoint
from critic_loop.testing import Fault, TestServer
from tests.cli.conftest import Cli, Serve

PLANTED = "zQ7+planted/31415926"
"""Looks like no key, so that nothing but knowing it removes it."""
SPELLINGS = {
    PLANTED,
    base64.b64encode(PLANTED.encode()).decode().rstrip("=")[:-1],
    quote(PLANTED, safe=""),
    PLANTED.replace("/", "\\/"),
}
VARIABLES = {name: f"{name.upper()}_API_KEY" for name in ("chat", "vllm", "anthropic", "openai")}
FAULTS = ("forbidden", "server_error", "rate_limit", "broken_json", "refusal", "drop", None, None)


def plays(received: Any) -> str:
    """Answer 41, then 42; accept anything as the critic."""
    messages = received.body["messages"]
    if "review answers" in str(received.body.get("system") or messages[0]["content"]):
        return "Fine.\nVerdict: correct"
    return "answer 42" if any(m["role"] == "assistant" for m in messages) else "answer 41"


class Keyring:
    """A keyring with the key in it."""

    def get_password(self, service: str, user: str) -> str | None:
        """Return the key for the variables, and nothing else."""
        return PLANTED if service == "critic-loop" and user in VARIABLES.values() else None


@pytest.fixture(params=["environment", "keyring"])
def written(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[str]]:
    """What is said; at the end, it and every byte below the folder are looked through."""
    keys._from_keyring.cache_clear()  # pyright: ignore[reportPrivateUsage]
    if request.param == "keyring":
        monkeypatch.setitem(sys.modules, "keyring", Keyring())
    for name in VARIABLES.values() if request.param == "environment" else ():
        monkeypatch.setenv(name, PLANTED)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    said: list[str] = []
    yield said
    files = {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert files
    for spelling in SPELLINGS:
        assert not [text for text in said if spelling in text], spelling
        assert not [path for path, content in files.items() if spelling.encode() in content], spelling
    keys._from_keyring.cache_clear()  # pyright: ignore[reportPrivateUsage]


def keys_in(server: TestServer) -> set[str]:
    names = ("authorization", "x-api-key")
    sent = {v for r in server.requests for k, v in r.headers.items() if k.lower() in names}
    return {value.removeprefix("Bearer ") for value in sent}


@pytest.mark.parametrize("backend", VARIABLES)
def test_commands_write_no_key(cli: Cli, serve: Serve, written: list[str], backend: str) -> None:
    server = serve(plays, key=PLANTED, models=["test"])
    wrong = serve(lambda _: Fault("auth"))
    spec, failing = (f"{backend}:test@{one.url}" for one in (server, wrong))
    for command in (
        ("run", "What is 6 * 7?", "--actor", spec, "--critic", spec, "--json"),
        ("run", "What is 6 * 8?", "--actor", failing, "--critic", spec),
        ("models", "--probe", "--actor", spec, "--critic", failing),
        ("models", "probe", spec, "--json"),
        ("models", "probe", failing),
        ("config", "--json"),
        ("show", "--json"),
        ("export", "--to", "sft", "--out", "rows"),
    ):
        ended = cli("--log-level", "debug", *command)
        written += [ended.out, ended.err]
    assert keys_in(server) == keys_in(wrong) == {PLANTED}
    assert any("[key]" in text for text in written), "the failing server said the key, and it was removed"


@pytest.mark.anyio
@pytest.mark.parametrize("backend", VARIABLES)
async def test_objects_errors_and_logs_hold_no_key(
    written: list[str], backend: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    faults = [Fault(kind) if kind else None for kind in FAULTS]
    async with TestServer(plays, key=PLANTED, faults=faults) as server:
        settings = ModelSettings(attempts=2, extra={"note": "x"})
        model = resolve(f"{backend}:test@{server.url}", settings=settings)
        loop = cl.Loop("refine", actor=model, critic=model, verifiers=[], store=tmp_path / "trees.db")
        for _ in range(4):
            try:
                result = await loop.run("What is 6 * 7?")
                written += [repr(result), repr(result.tree.log)]
            except AuthFailed as error:
                written += ["".join(traceback.format_exception(error)), repr(error), str(error.__dict__)]
        written += [repr(loop), repr(loop.switchboard), repr(model), caplog.text]
        await loop.aclose()
        await model.aclose()
    assert keys_in(server) == {PLANTED}


@pytest.mark.anyio
async def test_a_client_keeps_no_key_between_calls(written: list[str], tmp_path: Path) -> None:
    (tmp_path / "a-file").touch()
    async with TestServer(plays, key=PLANTED) as server:
        model = resolve(f"chat:test@{server.url}")
        loop = cl.Loop("refine", actor=model, critic=model, verifiers=[])
        await loop.run("What is 6 * 7?")
        kept = [thing for thing in gc.get_objects() if isinstance(thing, Endpoint)]
        written += [repr(vars(one)) for one in kept]
        await loop.aclose()
        await model.aclose()
    assert kept
