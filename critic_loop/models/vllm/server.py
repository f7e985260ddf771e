"""One vLLM server of this process: started when it is needed, shared by all models that it serves.

Knows what vLLM answers beside its API: health, and the canary's first token. Does not know requests
(`models.chat`) nor when it is whose turn (`vllm.turns`). What takes long blocks, and runs in a thread.

It listens on loopback, with a key of its own that is handed over in its environment and kept nowhere else.
"""

from __future__ import annotations

import atexit
import http.client
import logging
import os
import secrets
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Lock, RLock
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias
from urllib.parse import urlencode
from weakref import WeakSet

import orjson
from pydantic import JsonValue

from critic_loop.core.errors import ConfigError, ModelError
from critic_loop.core.records import digest_of
from critic_loop.models.canary import CANARY
from critic_loop.models.failures import ServerFailed, cleaned
from critic_loop.models.served import found, listed, offer
from critic_loop.models.vllm.adapters import Adapter, Loaded, arguments_for, room_in
from critic_loop.models.vllm.folders import Folder
from critic_loop.models.vllm.process import Process, free_port
from critic_loop.models.vllm.settings import Serve, command_line, identity
from critic_loop.models.vllm.turns import Turns, turns_of

if TYPE_CHECKING:
    import httpx

_log = logging.getLogger(__name__)
_LOOK_S = 0.1
_CANARY_S = 120.0
_HINT = "The end of its log says why; its arguments are serve.arguments in the model's settings."
_DEVELOPMENT = (
    "It does in its development mode: set serve.device, or VLLM_SERVER_DEV_MODE in serve.environment."
)
_TOLD_S = 600.0
_FAR = 0.5
_Token: TypeAlias = tuple[str, float | None]
"""A token and its log-probability, where that is served."""
_DEATHS, _WITHIN_S = 3, 900.0
"""A server that dies so often in so many seconds is not started again."""


class User(Protocol):
    """A model on a server."""

    @property
    def adapter(self) -> Adapter | None:
        """Whose weights it asks for, beside the server's own."""
        ...


class Running(Protocol):
    """What answers while a server is up."""

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        ...

    @property
    def log(self) -> Path | None:
        """Where its output is, if it has its own."""
        ...

    def report(self) -> str:
        """Return how it ended, if it did, with the end of its output."""
        ...

    def ask_to_end(self) -> None:
        """Let it end, without waiting."""
        ...

    def stop(self) -> None:
        """End it."""
        ...


class Server:
    """A vLLM server and what it takes to have it up."""

    transport: Callable[[], httpx.AsyncBaseTransport] | None = None
    """How it is asked, if not over HTTP."""

    def __init__(self, name: str, serve: Serve) -> None:
        """Name the model that it serves; nothing is started yet."""
        self.name = name
        self.serve = serve
        self._own_turns = Turns()
        self.loaded = Loaded(name, self.ask)
        """Its adapters."""
        self._users: WeakSet[User] = WeakSet()
        self._users_lock = Lock()
        self._calls: Counter[int] = Counter()
        self._lock = RLock()
        self._process: Running | None = None
        self._port = 0
        self._key = ""
        self._folder: Folder | None = None
        self._deaths: list[float] = []
        self._mourned: Running | None = None
        self._ready = False
        self._asleep = False
        self._ended = False
        """Whether it ended by itself, and has not been ready since."""
        self.version = ""
        """What its weights are called since they were changed in place; empty = they are the folder's."""
        self._paused = Lock()
        self._first: _Token = ("", None)
        """What the canary said when it was started."""
        self._ours: dict[str, JsonValue] = {}
        """The arguments that it was started with beside those of its settings."""
        self._unwanted = Event()

    def __repr__(self) -> str:
        return f"Server({self.name!r}, {'up' if self.up else 'not up'})"

    @property
    def turns(self) -> Turns:
        """Those of its device, which may be shared."""
        return turns_of(self.serve.device) if self.serve.device else self._own_turns

    @property
    def url(self) -> str:
        """Where it answers, `/v1` included; another port after each start."""
        return f"http://127.0.0.1:{self._port}/v1"

    def key(self) -> str:
        """Return its key."""
        return self._key

    @property
    def place(self) -> str:
        """What stands for its address where findings are kept: another for other weights, settings or vLLM."""
        folder = Path(self.name)
        files = sorted(folder.iterdir()) if folder.is_dir() else []
        stats = [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files if file.is_file()]
        return f"here:{digest_of([stats, *identity(self.serve)])[:12]}"

    # -- its life ------------------------------------------------------------------------------

    @property
    def up(self) -> bool:
        """Whether it runs and has answered."""
        runs = self._ready and self._process is not None and self._process.alive
        return runs and not self._asleep and not self._is_outgrown()

    @property
    def is_lost(self) -> bool:
        """Whether it ended by itself and does not answer again yet."""
        process = self._process
        return self._ended or (self._ready and process is not None and not process.alive)

    @property
    def runs(self) -> bool:
        """Whether it has a process, be it starting or asleep."""
        return self._process is not None

    @property
    def is_used(self) -> bool:
        """Whether there are models on it that have not been closed."""
        with self._users_lock:
            return bool(self._users)

    def adapters(self) -> list[Adapter]:
        """Return those of the models on it."""
        with self._users_lock:
            return [user.adapter for user in self._users if user.adapter is not None]

    def join(self, user: User) -> None:
        """Take note of a model on it; if it was started without room for its adapter, it is started anew.

        That waits until no call is in flight.
        """
        with self._users_lock:
            self._users.add(user)

    def leave(self, user: User) -> None:
        """Take note that a model is closed."""
        with self._users_lock:
            self._users.discard(user)

    @contextmanager
    def called_by(self, user: User) -> Generator[None, None, None]:
        """Hold a call of a model."""
        with self._users_lock:
            self._calls[id(user)] += 1
        try:
            yield
        finally:
            with self._users_lock:
                self._calls[id(user)] -= 1

    def in_flight(self, user: User | None = None) -> int:
        """Return the number of calls, of all models or of one."""
        with self._users_lock:
            return self._calls.total() if user is None else self._calls[id(user)]

    def _is_outgrown(self) -> bool:
        """Whether starting it anew would make room for an adapter for which it has none."""
        wanted = room_in({**arguments_for(self.adapters()), **self.serve.arguments})
        return wanted > room_in({**self._ours, **self.serve.arguments})

    def rouse(self) -> None:
        """Start it, or wake it, unless it is up.

        Raises:
            ServerFailed: vLLM is not installed, died, or did not answer in time.
        """
        with self._lock:
            if self.up or (self._asleep and self._wake()):
                return
            self._note_death()
            while not self._ready_again():
                if not self.is_used:
                    raise ServerFailed(f"vLLM serving {self.name!r} was closed while it started.")

    def _ready_again(self) -> bool:
        """Start it; return False if that was broken off, because nobody wanted it any more."""
        try:
            self._start()
        except ServerFailed:
            if not self._unwanted.is_set():
                raise
            self._unwanted.clear()
            return False
        return True

    def rest(self) -> None:
        """Free the device: put it to sleep, or end it where it cannot."""
        with self._lock:
            if not self.up:
                self._end()
                return
            if self.serve.sleep == 2:
                self.loaded.drop()
            self._asleep = self._told("/sleep", level=self.serve.sleep) if self.serve.device else False
            if not self._asleep:
                self._end()

    def _wake(self) -> bool:
        """Return whether it is awake and of sound mind: else it is to be started anew."""
        if self._process is None or not self._process.alive or self._is_outgrown():
            return False
        if self.serve.sleep == 1:
            woken = self._told("/wake_up")
        else:  # weights are read again before there is room for anything else
            woken = self._told("/wake_up", tags="weights") and self._told(
                "/collective_rpc", {"method": "reload_weights"}
            )
            woken = woken and self._told("/wake_up", tags="kv_cache")
            self.version = ""
        try:
            sound = woken and _same(self.canary(), self._first)
        except ServerFailed:
            sound = False
        if not sound:
            _log.warning("vLLM serving %r did not wake as it was, and is started anew", self.name)
            return False
        self._asleep = False
        return True

    def _told(self, path: str, body: dict[str, JsonValue] | None = None, **query: str | int) -> bool:
        """Return whether it did what it was told to."""
        try:
            self.tell(path, body, **query)
        except ModelError as error:
            _log.warning("%s", error.message)
            return False
        return True

    def tell(self, path: str, body: dict[str, JsonValue] | None = None, **query: str | int) -> bytes:
        """Return what it answers to something that is not of its API; blocks.

        Raises:
            ModelError: it does not do it.
        """
        path += f"?{urlencode(query)}" if query else ""
        try:
            status, said = self.ask("POST", path, body or {}, timeout_s=_TOLD_S)
        except (OSError, http.client.HTTPException) as error:
            status, said = 0, type(error).__name__.encode()
        if status != 200:
            what = f"vLLM serving {self.name!r}, told {path}: {status or 'no answer'} "
            raise ModelError(what + said[:200].decode(errors="replace"), hint=_DEVELOPMENT * (status == 404))
        return said

    def pause(self, *, finish: bool) -> None:
        """Hold its calls, or let those in flight end first; forget what is cached of prompts. Blocks.

        Raises:
            ModelError: it does not, or is paused already.
        """
        if not self._paused.acquire(blocking=False):
            raise ModelError(f"vLLM serving {self.name!r} is paused already.", hint="Wait for the other pause.")
        try:
            self.tell("/pause", mode="wait" if finish else "keep", clear_cache="true")
        except BaseException:
            self._paused.release()
            raise

    def resume(self, version: str) -> None:
        """Let its calls go on, with weights of this name; empty = they have not changed. Blocks.

        Raises:
            ModelError: it does not.
        """
        try:
            self.version = version or self.version
            self.tell("/resume")
        finally:
            self._paused.release()
        if version:
            self._first = self.canary()

    def stop_unused(self) -> None:
        """End it, or break off its start, unless a model has joined it meanwhile."""
        self._unwanted.set()
        if not self._ready and (process := self._process) is not None:
            process.ask_to_end()
        with self._lock:
            self._unwanted.clear()
            if not self.is_used:
                self._end()

    def stop(self) -> None:
        """End it, whoever is on it."""
        self.ask_to_end()
        self.stop_unused()

    def ask_to_end(self) -> None:
        """Let it end, or its start fail, without waiting."""
        with self._users_lock:
            self._users.clear()
        self._unwanted.set()
        if (process := self._process) is not None:
            process.ask_to_end()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.stop()
        self._ready = self._asleep = self._ended = False
        folder, self._folder = self._folder, None
        if folder is not None:
            folder.remove()

    def death(self) -> ServerFailed | None:
        """Return how it ended, if it did so by itself."""
        process = self._process
        return None if process is None or process.alive else self._failed("ended", process)

    def _note_death(self) -> None:
        """Refuse to start what keeps dying; what died before it was ready has raised its error already."""
        process, was_ready = self._process, self._ready
        if process is None or process.alive or not was_ready:
            return
        now, self._ended = time.monotonic(), True
        if process is not self._mourned:
            self._mourned = process
            self._deaths.append(now)
            _log.warning("vLLM serving %r ended%s", self.name, process.report().partition("\n")[0])
        self._deaths = [at for at in self._deaths if now - at < _WITHIN_S]
        if len(self._deaths) >= _DEATHS:
            raise self._failed(f"ended {_DEATHS} times in {_WITHIN_S / 60:.0f} minutes, lastly", process)

    def _start(self) -> None:
        if self._process is not None:
            self._process.stop()
        self._ready = self._asleep = False
        self._key = secrets.token_urlsafe(24)
        self._ours, self.version = self._arguments(), ""
        self.loaded.forget()
        process = self._process = self._begun()
        try:
            self._await_health(process)
            self._look_at_list(process)
            self._first = self.canary()
        except BaseException:
            process.stop()
            raise
        self._ready, self._ended = True, False

    def _begun(self) -> Running:
        """Begin to start it.

        Raises:
            ServerFailed: it cannot be.
        """
        self._port = free_port()
        command = command_line(self.name, self.serve, port=self._port, ours=self._ours)
        environment = {**os.environ, **self._environment(), **self.serve.environment, "VLLM_API_KEY": self._key}
        try:
            log = self.serve.log or self._own_folder() / "server.log"
            _log.info("starting vLLM for %r on port %d; log: %s", self.name, self._port, log)
            return Process(command, environment=environment, log=log, secret=self._key)
        except OSError as error:
            raise ServerFailed(f"The log of vLLM serving {self.name!r} cannot be written ({error}).") from error

    def _own_folder(self) -> Path:
        if self._folder is None or not self._folder.path.exists():
            self._folder = Folder("vllm")
        return self._folder.path

    def _arguments(self) -> dict[str, JsonValue]:
        """Return the arguments that what it is needed for takes."""
        given = arguments_for(self.adapters(), self.serve.adapters.values())
        return {"enable-sleep-mode": True, **given} if self.serve.device else given

    def _environment(self) -> dict[str, str]:
        """Return the variables that what it is needed for takes."""
        has_room = room_in({**self._ours, **self.serve.arguments})
        given = {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True"} if has_room else {}
        return {"VLLM_SERVER_DEV_MODE": "1", **given} if self.serve.device else given

    def _await_health(self, process: Running) -> None:
        until = time.monotonic() + self.serve.start_timeout_s
        while time.monotonic() < until:
            if self._unwanted.is_set() or not process.alive:
                raise self._failed("ended before it answered,", process)
            try:
                if self.ask("GET", "/health", timeout_s=5.0)[0] == 200:
                    return
            except (OSError, http.client.HTTPException):
                pass  # not yet
            time.sleep(_LOOK_S)
        patience = f"did not answer within {self.serve.start_timeout_s:g} s"
        raise self._failed(patience, process, hint="Raise serve.start_timeout_s in the model's settings.")

    def _look_at_list(self, process: Running) -> None:
        """Compare what it serves with what it was started for; what keeps no list is believed.

        Raises:
            ServerFailed: it serves under other names.
        """
        served = listed(self._got("/v1/models")) or ()
        if not served:
            return
        if (ours := found(self.name, served)) is None:
            what = f"is up, but serves {offer(self.name, served)}, and nothing of this name"
            raise self._failed(what, process, hint="Leave served-model-name out of serve.arguments.")
        version, most = self._got("/version").get("version", "of an unknown version"), ours.context_tokens
        _log.info("vLLM %s serves %r, up to %s tokens", version, self.name, most or "?")
        wanted = self.serve.arguments.get("max-model-len")
        if most is not None and isinstance(wanted, int) and wanted not in (most, -1):
            text = "vLLM serving %r takes %d tokens, and not the %d of max-model-len in serve.arguments"
            _log.warning(text, self.name, most, wanted)

    def _got(self, path: str) -> dict[str, Any]:
        """Return the object at a path; empty if there is none."""
        try:
            status, said = self.ask("GET", path)
            answer = orjson.loads(said) if status == 200 else None
        except (OSError, http.client.HTTPException, ValueError):
            return {}
        return answer if isinstance(answer, dict) else {}

    def canary(self) -> _Token:
        """Return the first token of a fixed answer.

        Raises:
            ServerFailed: there is none.
        """
        body: dict[str, JsonValue] = {
            "model": self.name,
            "messages": [{"role": "user", "content": CANARY}],
            "max_completion_tokens": 1,
            "temperature": 0.0,
            "logprobs": True,
        }
        try:
            status, said = self.ask("POST", "/v1/chat/completions", body, timeout_s=_CANARY_S)
            if status == 200:
                return _token(orjson.loads(said)["choices"][0])
            what = f"answered {status}: {cleaned(said.decode(errors='replace'), self._key)}"
        except (OSError, http.client.HTTPException, ValueError, LookupError) as error:
            what = f"gave no answer ({type(error).__name__})"
        raise self._failed(f"is up, but to one token it {what}", self._process)

    def ask(
        self, method: str, path: str, body: dict[str, JsonValue] | None = None, *, timeout_s: float = 60.0
    ) -> tuple[int, bytes]:
        """Return status and body of its answer, from anywhere on the server; blocks.

        Raises:
            OSError: nothing answers.
            HTTPException: what answers does not speak HTTP.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=timeout_s)
        try:
            headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
            connection.request(method, path, None if body is None else orjson.dumps(body), headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def _failed(self, what: str, process: Running | None, *, hint: str = _HINT) -> ServerFailed:
        if process is not None:
            self._keep(process.log)
            what += process.report()
        return ServerFailed(f"vLLM serving {self.name!r} {what}", hint=hint)

    def _keep(self, log: Path | None) -> None:
        """Keep what a message names, unless nobody wants to read why a start was broken off."""
        folder = self._folder
        if folder is not None and log is not None and folder.path == log.parent and not self._unwanted.is_set():
            folder.keep()
            self._folder = None


def _token(choice: Any) -> _Token:
    """Return the first token of an answer; what a model thinks has tokens, too, and no text."""
    tokens = (choice.get("logprobs") or {}).get("content") or [{}]
    text = tokens[0].get("token") or choice["message"].get("content") or ""
    return str(text), tokens[0].get("logprob")


def _same(one: _Token, other: _Token) -> bool:
    """Return whether two greedy tokens come of the same weights, if not of the same order of additions."""
    far = one[1] is not None and other[1] is not None and abs(one[1] - other[1]) > _FAR
    return one[0] == other[0] and not far


_servers: dict[tuple[type[Server], str], Server] = {}
_servers_lock = RLock()


def server_of(name: str, serve: Serve | None, kind: type[Server] = Server) -> Server:
    """Return the server of a model: one for all of this process that name it.

    Args:
        name: what it serves.
        serve: its settings; None takes those that another model of it has, or none.
        kind: what it is.

    Raises:
        ConfigError: it is in use with other settings.
    """
    with _servers_lock:
        place = (kind, _place(name))
        server = _servers.get(place)
        if server is None:
            server = _servers[place] = kind(name, serve or Serve())
        elif serve is not None and serve != server.serve:
            if server.is_used and (server.runs or server.serve != Serve()):
                raise ConfigError(
                    f"The server of {name!r} is named with two different settings.",
                    hint="Give `serve` in one [models.NAME] table, or the same in each.",
                )
            server.serve = serve
        return server


def known_server(name: str) -> Server:
    """Return the server of a model that was named in this process.

    Raises:
        ConfigError: none was.
    """
    with _servers_lock:
        for (_, place), server in _servers.items():
            if place == _place(name):
                return server
        known = ", ".join(sorted(server.name for server in _servers.values())) or "none"
    raise ConfigError(f"No server of {name!r} belongs to this process.", hint=f"There are: {known}.")


def _place(name: str) -> str:
    """Return one name for a folder, however it is written."""
    return str(Path(name).resolve()) if Path(name).is_dir() else name


@atexit.register
def _stop_all() -> None:
    """End what still runs: all at once, then wait for each, so that no port or memory is held afterwards."""
    with _servers_lock:
        servers = list(_servers.values())
    for server in servers:
        server.ask_to_end()
    for server in servers:
        server.stop()
