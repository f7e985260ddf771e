"""What a vLLM server is started with: the `serve` of a `[models.NAME]` table, and the command line of it.

Knows vLLM's arguments and environment. Starts nothing.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import orjson
from pydantic import Field, JsonValue, field_validator

from critic_loop.core.errors import ServerFailed
from critic_loop.core.messages import Frozen

_OURS = ("host", "port", "api-key", "model", "served-model-name", "uds")
_MODULE = "vllm.entrypoints.openai.api_server"


class Engine(Frozen):
    """What a vLLM in this process is started with."""

    arguments: dict[str, JsonValue] = {}
    """vLLM's by name, as in `max-model-len = 8192`; true and false are `--NAME` and `--no-NAME`."""
    adapters: dict[str, str] = {}
    """Folders of LoRA adapters by the names that they have in specs; others are named by their folders."""
    device: str = ""
    """A name for the GPU that it shares: servers with the same name take turns, and the others sleep."""
    sleep: Literal[1, 2] = 1
    """How deep: 1 keeps its weights in the computer's memory, 2 reads them again when it wakes."""

    @field_validator("arguments")
    @classmethod
    def _are_free(cls, given: dict[str, JsonValue]) -> dict[str, JsonValue]:
        named = {name.lstrip("-").replace("_", "-"): value for name, value in given.items()}
        if taken := sorted(named.keys() & set(_OURS)):
            raise ValueError(f"{', '.join(taken)} cannot be given: it is set when the server is started")
        return named

    def served(self) -> Serve:
        """Return it as a server's settings."""
        return Serve(**self.model_dump())


class Serve(Engine):
    """How a server that is started here is started."""

    command: tuple[str, ...] = ()
    """What starts it, as in `["/opt/vllm/bin/vllm", "serve"]`; empty = the vLLM installed here."""
    environment: dict[str, str] = {}
    """Variables for it beside those that are set here."""
    start_timeout_s: float = Field(default=900.0, gt=0)
    """How long it may take to answer, a download of its weights included."""
    log: Path | None = None
    """A file to append its output to; None = one for the time that it runs, kept for a week if it dies."""


def command_line(name: str, serve: Serve, *, port: int, ours: Mapping[str, JsonValue]) -> list[str]:
    """Return the command that serves the model `name`.

    Args:
        name: a folder, or a name on the Hugging Face hub.
        serve: the settings; their arguments win over `ours`.
        port: where on loopback.
        ours: arguments for what is needed of the server.

    Raises:
        ServerFailed: vLLM is not installed.
    """
    line = list(serve.command) or _installed()
    line += [name] if line[-1] == "serve" else ["--model", name]
    return [*line, "--host", "127.0.0.1", "--port", str(port), *written({**ours, **serve.arguments})]


def written(arguments: Mapping[str, JsonValue]) -> list[str]:
    """Return arguments as a command line has them."""
    return [word for name, value in arguments.items() for word in _written(name, value)]


def _written(argument: str, value: JsonValue) -> Iterator[str]:
    if value is None or isinstance(value, bool):
        if value is not None:
            yield f"--{'' if value else 'no-'}{argument}"
        return
    yield f"--{argument}"
    if isinstance(value, list):
        yield from (_text(one) for one in value)
    else:
        yield _text(value)


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _installed() -> list[str]:
    """Return how the vLLM of this Python, or else the one on the PATH, is started.

    Builds under another distribution name lack the version that `vllm serve` asks for, and are started as a
    module.
    """
    if importlib.util.find_spec("vllm") is not None:
        script = Path(sys.executable).with_name("vllm")
        return [str(script), "serve"] if _is_named() and script.exists() else [sys.executable, "-m", _MODULE]
    if (found := shutil.which("vllm")) is not None:
        return [found, "serve"]
    raise ServerFailed(
        "vLLM is not installed, and a model `vllm:NAME` without an address is served from here.",
        hint="pip install 'critic-loop[vllm]', name another installation's as serve.command in the model's "
        "settings, or write vllm:NAME@http://HOST:8000 for a server that runs.",
    )


def identity(serve: Serve) -> list[JsonValue]:
    """Return what decides what a server can do, but for its weights: the vLLM and its arguments."""
    command: JsonValue = list(serve.command) or [shutil.which("vllm") or "", _version()]
    return [command, serve.arguments]


def _is_named() -> bool:
    return bool(_version())


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("vllm")
    except PackageNotFoundError:
        return ""
