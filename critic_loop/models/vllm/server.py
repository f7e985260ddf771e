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
import tempfile
import time
from pathlib import Path
from shutil import rmtree
from threading import Event, RLock
from typing import Any, Protocol, TypeAlias
from urllib.parse import urlencode
from weakref import WeakSet

import orjson
from pydantic import JsonValue

from critic_loop.core.errors import ConfigError
from critic_loop.models.canary import CANARY
from critic_loop.models.failures import ServerFailed, cleaned
from critic_loop.models.vllm.adapters import Adapter, Loaded, arguments_for
from critic_loop.models.vllm.process import Process, free_port
from critic_loop.models.vllm.settings import Serve, command_line
from critic_loop.models.vllm.turns import Turns, turns_of

_log = logging.getLogger(__name__)
_LOOK_S = 0.1
_CANARY_S = 120.0
_HINT = "The end of its log says why; its arguments are serve.arguments in the model's settings."
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


class Server:
    """A vLLM server and what it takes to have it up."""

    def __init__(self, name: str, serve: Serve) -> None:
        """Name the model that it serves; nothing is started yet."""
        self.name = name
        self.serve = serve
        self._own_turns = Turns()
        self.loaded = Loaded(name, self.ask)
        """Its adapters."""
        self.users: WeakSet[User] = WeakSet()
        """The models on it that have not been closed; it stops with the last."""
        self._lock = RLock()
        self._process: Process | None = None
        self._port = 0
        self._key = ""
        self._folder: Path | None = None
        self._deaths: list[float] = []
        self._mourned: Process | None = None
        self._ready = False
        self._outgrown = False
        self._asleep = False
        self._first: _Token = ("", None)
        """What the canary said when it was started."""
        self._started_with: dict[str, JsonValue] = {}
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

    # -- its life ------------------------------------------------------------------------------

    @property
    def up(self) -> bool:
        """Whether it runs and has answered."""
        runs = self._ready and self._process is not None and self._process.alive
        return runs and not self._outgrown and not self._asleep

    def join(self, user: User) -> None:
        """Take note of a model on it; if it was started without room for its adapter, it is started anew.

        That waits until no call is in flight.
        """
        if user in self.users:
            return
        self.users.add(user)
        if self._ready and user.adapter is not None:
            wanted = arguments_for([user.adapter])["max-lora-rank"]
            has = self._started_with.get("max-lora-rank", 0)
            self._outgrown = self._outgrown or int(str(wanted)) > int(str(has))

    def rouse(self) -> None:
        """Start it, or wake it, unless it is up.

        Raises:
            ServerFailed: vLLM is not installed, died, or did not answer in time.
        """
        with self._lock:
            if self.up or (self._asleep and self._wake()):
                return
            self._note_death()
            self._start()

    def rest(self) -> None:
        """Free the device: put it to sleep, or end it where it cannot."""
        with self._lock:
            if not self.up:
                self.stop()
                return
            if self.serve.sleep == 2:
                self.loaded.drop()
            self._asleep = self._told("/sleep", level=self.serve.sleep) if self.serve.device else False
            if not self._asleep:
                self.stop()

    def _wake(self) -> bool:
        """Return whether it is awake and of sound mind: else it is to be started anew."""
        if self._process is None or not self._process.alive or self._outgrown:
            return False
        if self.serve.sleep == 1:
            woken = self._told("/wake_up")
        else:  # weights are read again before there is room for anything else
            woken = self._told("/wake_up", tags="weights") and self._told(
                "/collective_rpc", {"method": "reload_weights"}
            )
            woken = woken and self._told("/wake_up", tags="kv_cache")
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
        path += f"?{urlencode(query)}" if query else ""
        try:
            status, said = self.ask("POST", path, body or {}, timeout_s=_TOLD_S)
        except (OSError, http.client.HTTPException) as error:
            status, said = 0, type(error).__name__.encode()
        if status != 200:
            _log.warning(
                "vLLM serving %r, told %s: %s %s", self.name, path, status, said[:200].decode(errors="replace")
            )
        return status == 200

    def stop(self) -> None:
        """End it; a start that is under way fails."""
        self.ask_to_end()
        with self._lock:
            self._unwanted.clear()
            if self._process is not None:
                self._process.stop()
                self._process = None
            self._ready = self._asleep = False
            if self._folder is not None:
                rmtree(self._folder, ignore_errors=True)
                self._folder = None

    def ask_to_end(self) -> None:
        """Let it end, or its start fail, without waiting."""
        self._unwanted.set()
        if (process := self._process) is not None:
            process.ask_to_end()

    def death(self) -> ServerFailed | None:
        """Return how it ended, if it did so by itself."""
        process = self._process
        return None if process is None or process.alive else self._failed("ended", process)

    def _note_death(self) -> None:
        """Refuse to start what keeps dying; what died before it was ready has raised its error already."""
        process, was_ready = self._process, self._ready
        if process is None or process.alive or not was_ready:
            return
        now = time.monotonic()
        if process is not self._mourned:
            self._mourned = process
            self._deaths.append(now)
            _log.warning(
                "vLLM serving %r ended with code %s; log: %s", self.name, process.exit_code, process.log
            )
        self._deaths = [at for at in self._deaths if now - at < _WITHIN_S]
        if len(self._deaths) >= _DEATHS:
            raise self._failed(f"ended {_DEATHS} times in {_WITHIN_S / 60:.0f} minutes, lastly", process)

    def _start(self) -> None:
        if self._process is not None:
            self._process.stop()
        self._asleep = False
        self._ready, self._port, self._key = False, free_port(), secrets.token_urlsafe(24)
        self._outgrown, self._started_with = False, self._arguments()
        self.loaded.forget()
        command = command_line(self.name, self.serve, port=self._port, ours=self._started_with)
        log = self.serve.log or self._own_folder() / "server.log"
        environment = {**os.environ, **self._environment(), **self.serve.environment, "VLLM_API_KEY": self._key}
        _log.info("starting vLLM for %r on port %d; log: %s", self.name, self._port, log)
        try:
            process = self._process = Process(command, environment=environment, log=log)
        except OSError as error:
            raise ServerFailed(f"The log {str(log)!r} of a server cannot be written ({error}).") from error
        try:
            self._await_health(process)
            self._first = self.canary()
        except BaseException:
            process.stop()
            raise
        self._ready = True

    def _own_folder(self) -> Path:
        if self._folder is None or not self._folder.exists():
            self._folder = Path(tempfile.mkdtemp(prefix="critic-loop-vllm-"))
        return self._folder

    def _arguments(self) -> dict[str, JsonValue]:
        """Return the arguments that what it is needed for takes."""
        given = arguments_for([user.adapter for user in self.users if user.adapter is not None])
        return {"enable-sleep-mode": True, **given} if self.serve.device else given

    def _environment(self) -> dict[str, str]:
        """Return the variables that what it is needed for takes."""
        given = {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True"} if "enable-lora" in self._started_with else {}
        return {"VLLM_SERVER_DEV_MODE": "1", **given} if self.serve.device else given

    def _await_health(self, process: Process) -> None:
        until = time.monotonic() + self.serve.start_timeout_s
        while time.monotonic() < until:
            if self._unwanted.is_set():
                process.stop()
            if not process.alive:
                raise self._failed("ended before it answered,", process)
            try:
                if self.ask("GET", "/health", timeout_s=5.0)[0] == 200:
                    return
            except OSError:
                time.sleep(_LOOK_S)
            else:
                time.sleep(_LOOK_S)
        patience = f"did not answer within {self.serve.start_timeout_s:g} s"
        raise self._failed(patience, process, hint="Raise serve.start_timeout_s in the model's settings.")

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

    def _failed(self, what: str, process: Process | None, *, hint: str = _HINT) -> ServerFailed:
        self._folder = None  # what a message names is kept
        if process is not None:
            code = "" if process.exit_code is None else f" with code {process.exit_code}"
            what += f"{code}; log: {process.log}\n" + process.last_lines().replace(self._key, "[key]") + "\n"
        return ServerFailed(f"vLLM serving {self.name!r} {what}", hint=hint)


def _token(choice: Any) -> _Token:
    """Return the first token of an answer; what a model thinks has tokens, too, and no text."""
    tokens = (choice.get("logprobs") or {}).get("content") or [{}]
    text = tokens[0].get("token") or choice["message"].get("content") or ""
    return str(text), tokens[0].get("logprob")


def _same(one: _Token, other: _Token) -> bool:
    """Return whether two greedy tokens come of the same weights, if not of the same order of additions."""
    far = one[1] is not None and other[1] is not None and abs(one[1] - other[1]) > _FAR
    return one[0] == other[0] and not far


_servers: dict[str, Server] = {}
_servers_lock = RLock()


def server_of(name: str, serve: Serve | None) -> Server:
    """Return the server of a model: one for all of this process that name it.

    Args:
        name: what it serves.
        serve: its settings; None takes those that another model of it has, or none.

    Raises:
        ConfigError: it is in use with other settings.
    """
    with _servers_lock:
        server = _servers.get(name)
        if server is None:
            server = _servers[name] = Server(name, serve or Serve())
        elif serve is not None and serve != server.serve:
            if server.users and server.serve != Serve():
                raise ConfigError(
                    f"The server of {name!r} is named with two different settings.",
                    hint="Give `serve` in one [models.NAME] table, or the same in each.",
                )
            server.serve = serve
        return server


@atexit.register
def _stop_all() -> None:
    """End what still runs: all at once, then wait for each, so that no port or memory is held afterwards."""
    with _servers_lock:
        servers = list(_servers.values())
    for server in servers:
        server.ask_to_end()
    for server in servers:
        server.stop()
