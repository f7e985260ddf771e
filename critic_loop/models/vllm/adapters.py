"""LoRA adapters of a server: each version has its own name and folder, and is unloaded when it is unused.

Knows folders of adapters and vLLM's two endpoints for them. A name is never used for other weights: vLLM keeps
answers' beginnings by name, and reads the folder again when it needs room for others, so a version is copied
before it is loaded, and what a trainer writes over it later changes nothing.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from shutil import copytree
from threading import Lock, RLock

import orjson
from pydantic import JsonValue

from critic_loop.core.errors import ConfigError, EndpointError, ModelError
from critic_loop.models.vllm.folders import Folder

_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""The values that vLLM accepts as the highest rank."""

Ask = Callable[[str, str, dict[str, JsonValue]], tuple[int, bytes]]


class Adapter:
    """One version of an adapter: what its folder held when it was first needed."""

    def __init__(self, folder: str | Path) -> None:
        """Name its folder, as PEFT writes it.

        Raises:
            ConfigError: there is no adapter.
        """
        self.source = Path(folder).expanduser().absolute()
        try:
            config = orjson.loads((self.source / "adapter_config.json").read_bytes())
            self.rank = int(config["r"])
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise ConfigError(
                f"{str(folder)!r} holds no LoRA adapter ({type(error).__name__}).",
                hint="After the +, write a folder with adapter_config.json, or a name from serve.adapters.",
            ) from error
        self.digest = ""
        """Of its content, once there is a copy."""
        self._copy: Folder | None = None
        self._lock = Lock()

    def copied(self) -> Path:
        """Return the folder of the copy, made at the first call.

        Raises:
            ConfigError: it cannot be read, or there is no room.
        """
        name = self.source.name or "adapter"
        with self._lock:
            if self._copy is None:
                try:
                    copy = Folder("adapter")
                    copytree(self.source, copy.path / name)
                    self.digest = _digest(copy.path / name)
                except OSError as error:
                    raise ConfigError(
                        f"The adapter {str(self.source)!r} cannot be copied ({error})."
                    ) from error
                self._copy = copy
            return self._copy.path / name

    def forget(self) -> None:
        """Delete the copy, which is otherwise deleted with this object. A later one has the content of then."""
        with self._lock:
            copy, self._copy = self._copy, None
        if copy is not None:
            copy.remove()


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{file.relative_to(folder).as_posix()}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as content:
            while piece := content.read(1 << 20):
                digest.update(piece)
    return digest.hexdigest()


def arguments_for(adapters: Sequence[Adapter], named: Iterable[str] = ()) -> dict[str, JsonValue]:
    """Return the arguments of a server that is to take these adapters, and one more beside them.

    Args:
        adapters: those in use.
        named: folders of adapters that may be used later; folders without an adapter are ignored.
    """
    ranks = [adapter.rank for adapter in adapters]
    for folder in named:
        with suppress(ConfigError):
            ranks.append(Adapter(folder).rank)
    if not ranks:
        return {}
    rank = next((rank for rank in _RANKS if rank >= max(ranks)), _RANKS[-1])
    return {"enable-lora": True, "max-loras": max(2, len(adapters)), "max-lora-rank": rank}


def room_in(arguments: Mapping[str, JsonValue]) -> int:
    """Return the highest rank that a server with these arguments takes; 0 = it takes no adapters."""
    return int(str(arguments.get("max-lora-rank") or 16)) if arguments.get("enable-lora") else 0


class Loaded:
    """The adapters that a running server has."""

    def __init__(self, server: str, ask: Ask) -> None:
        """Take the server's name, for messages, and a function that asks it: `(method, path, body)`."""
        self._server = server
        self._ask = ask
        self._names: dict[str, Adapter] = {}
        self._calls: Counter[str] = Counter()
        self._epoch = 1
        self._changing = RLock()
        self._lock = Lock()

    def forget(self) -> None:
        """Forget all: the server is a new process without adapters."""
        with self._changing, self._lock:
            self._names.clear()

    def drop(self) -> None:
        """Unload all and let no earlier name be used again: their weights are about to be lost. Blocks."""
        with self._changing:
            for adapter in list(self._names.values()):
                self.unload(adapter)
            with self._lock:
                self._names.clear()
                self._epoch += 1

    def name_of(self, adapter: Adapter) -> str:
        """Return the name of a version on this server; the same version has the same."""
        stem = re.sub(r"[^\w.-]", "-", adapter.source.name)
        return f"{stem}-{adapter.digest[:12]}" + (f".{self._epoch}" if self._epoch > 1 else "")

    def enter(self, adapter: Adapter) -> str | None:
        """Begin a call of an adapter that is loaded and return its name; None if it is not. Does not block."""
        with self._lock:
            name = self.name_of(adapter)
            if name not in self._names:
                return None
            self._calls[name] += 1
            return name

    def leave(self, name: str) -> None:
        """End a call."""
        with self._lock:
            self._calls[name] -= 1

    def load(self, adapter: Adapter) -> None:
        """Load an adapter unless the server has it. Blocks.

        Raises:
            ModelError: the server refuses it.
        """
        with self._changing:
            folder = adapter.copied()
            name = self.name_of(adapter)
            if name in self._names:
                return
            self._change("load", {"lora_name": name, "lora_path": str(folder)}, f"{adapter.source}")
            with self._lock:
                self._names[name] = adapter

    def release(self, adapter: Adapter) -> bool:
        """Unload an adapter and remove its copy; return False while a call is in flight on it. Blocks."""
        with self._changing:  # so that it is not loaded from the copy while that is deleted
            gone = self.unload(adapter)
            if gone:
                adapter.forget()
            return gone

    def unload(self, adapter: Adapter) -> bool:
        """Unload an adapter and return True; return False while a call is in flight on it. Blocks."""
        with self._changing:
            name = self.name_of(adapter)
            with self._lock:
                if self._calls[name]:
                    return False
                if self._names.pop(name, None) is None:
                    return True
            with suppress(ModelError):  # the server may have ended, and the adapter with it
                self._change("unload", {"lora_name": name}, name)
            return True

    def _change(self, what: str, body: dict[str, JsonValue], whom: str) -> None:
        try:
            status, said = self._ask("POST", f"/v1/{what}_lora_adapter", body)
        except (OSError, HTTPException) as error:
            raise EndpointError(
                f"vLLM serving {self._server!r} broke off when it was to {what} the adapter {whom}.",
                transient=True,
            ) from error
        text = said.decode(errors="replace")[:300]
        if what == "load" and "already been loaded" in text:
            return  # an earlier answer was lost; what has this name has this content
        if status != 200:
            raise ModelError(
                f"vLLM serving {self._server!r} does not {what} the adapter {whom} ({status}: {text})",
                hint="Its rank and its modules must fit the arguments that the server was started with.",
            )
