"""One vLLM server of this process: started when it is needed, shared by all models that it serves.

Knows its life cycle: start, sleep, pause, death, end. Does not know requests (`models.client`), whose turn it
is (`vllm.device`), or what is checked at its start (`vllm.startup_checks`). Slow operations block, and run in
a thread.

It listens on loopback, with a key of its own that is passed in its environment and stored nowhere else.
"""

from __future__ import annotations

import http.client
import logging
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, RLock
from typing import TYPE_CHECKING, Protocol

import orjson
from pydantic import JsonValue

from critic_loop.core.errors import ModelError, ServerFailed
from critic_loop.core.records import digest_of
from critic_loop.models.transport.failures import cleaned
from critic_loop.models.vllm.adapters import Loaded, arguments_for, room_in
from critic_loop.models.vllm.control import Control
from critic_loop.models.vllm.device import Turns, turns_of
from critic_loop.models.vllm.folders import Folder
from critic_loop.models.vllm.process import Process, free_port
from critic_loop.models.vllm.settings import Serve, command_line, identity
from critic_loop.models.vllm.startup_checks import Token, first_token, misnamed, same
from critic_loop.models.vllm.users import Users

if TYPE_CHECKING:
    import httpx

_log = logging.getLogger(__name__)
_LOOK_S = 0.1
_HINT = "The end of its log says why; its arguments are serve.arguments in the model's settings."
_DEATHS, _WITHIN_S = 3, 900.0
"""A server that dies so often in so many seconds is not started again."""


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


_LONGEST_FOLDER = 64
"""Of a folder of sockets, in bytes: with vLLM's names a path stays below 108, which is what systems take."""


class Server:
    """A vLLM server and what it takes to have it up."""

    transport: Callable[[], httpx.AsyncBaseTransport] | None = None
    """How it is asked, if not over HTTP."""

    def __init__(self, name: str, serve: Serve) -> None:
        """Name the model that it serves; nothing is started yet."""
        self.name = name
        self.serve = serve
        self._own_turns = Turns()
        self.control = Control(name, self.ask)
        self.loaded = Loaded(name, self.ask)
        """Its adapters."""
        self.users = Users()
        """The models on it, and their calls."""
        self._lock = RLock()
        self._process: Running | None = None
        self._port = 0
        self._key = ""
        self._folder: Folder | None = None
        self._deaths: list[float] = []
        self._noted_death: Running | None = None
        self._ready = False
        self._asleep = False
        self._ended = False
        """Whether it ended by itself, and has not been ready since."""
        self.version = ""
        """What its weights are called since they were changed in place; empty = they are the folder's."""
        self._first: Token = ("", None)
        """The token of the health check at its start."""
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

    def _is_outgrown(self) -> bool:
        """Whether a restart is needed to fit an adapter that does not fit now."""
        wanted = room_in({**arguments_for(self.users.adapters()), **self.serve.arguments})
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
                if not self.users.are_there:
                    raise ServerFailed(f"vLLM serving {self.name!r} was closed while it started.")

    def _ready_again(self) -> bool:
        """Start it; return False if the start was cancelled, because no model needs it any more."""
        try:
            self._start()
        except ServerFailed:
            if not self._unwanted.is_set():
                raise
            self._unwanted.clear()
            return False
        return True

    def rest(self) -> None:
        """Free the device: put it to sleep, or stop it where it cannot sleep."""
        with self._lock:
            if not self.up:
                self._end()
                return
            if self.serve.sleep == 2:
                self.loaded.drop()
            self._asleep = self.control.sleep(self.serve.sleep) if self.serve.device else False
            if not self._asleep:
                self._end()

    def _wake(self) -> bool:
        """Wake it; return whether it is awake and passes the health check. If not, it must be restarted."""
        if self._process is None or not self._process.alive or self._is_outgrown():
            return False
        woken = self.control.wake(self.serve.sleep)
        if self.serve.sleep == 2:  # the weights are those of the folder again
            self.version = ""
        try:
            healthy = woken and same(self.health_token(), self._first)
        except ServerFailed:
            healthy = False
        if not healthy:
            _log.warning("vLLM serving %r failed its health check after waking, and is restarted", self.name)
            return False
        self._asleep = False
        return True

    def pause(self, *, finish: bool) -> None:
        """Hold its calls, or let those in flight end first; forget what is cached of prompts. Blocks.

        Raises:
            ModelError: it does not, or is paused already.
        """
        self.control.pause(finish=finish)

    def resume(self, version: str) -> None:
        """Let its calls go on, with weights of this name; empty = they have not changed. Blocks.

        Raises:
            ModelError: it does not.
        """
        self.version = version or self.version
        self.control.resume()
        if version:
            self._first = self.health_token()

    def stop_unused(self) -> None:
        """End it, or break off its start, unless a model has joined it meanwhile."""
        self._unwanted.set()
        if not self._ready and (process := self._process) is not None:
            process.ask_to_end()
        with self._lock:
            self._unwanted.clear()
            if not self.users.are_there:
                self._end()

    def stop(self) -> None:
        """Stop it, whatever models use it."""
        self.ask_to_end()
        self.stop_unused()

    def ask_to_end(self) -> None:
        """Let it end, or its start fail, without waiting."""
        self.users.forget()
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
        if process is not self._noted_death:
            self._noted_death = process
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
            self._look(process)
            self._first = self.health_token()
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
        try:
            folder = self._own_folder()
            given = {**_sockets_in(folder), **os.environ, **self._environment(), **self.serve.environment}
            environment = {**given, "VLLM_API_KEY": self._key}
            log = self.serve.log or folder / "server.log"
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
        given = arguments_for(self.users.adapters(), self.serve.adapters.values())
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

    def _look(self, process: Running) -> None:
        if wrong := misnamed(self.ask, self.name, self.serve.arguments):
            raise self._failed(wrong, process, hint="Leave served-model-name out of serve.arguments.")

    def health_token(self) -> Token:
        """Return the first token of a fixed answer.

        Raises:
            ServerFailed: there is none.
        """
        try:
            return first_token(self.ask, self.name)
        except ModelError as error:
            what = f"is up, but its health check {cleaned(error.message, self._key)}"
            raise self._failed(what, self._process) from error

    def ask(
        self, method: str, path: str, body: dict[str, JsonValue] | None = None, *, timeout_s: float = 60.0
    ) -> tuple[int, bytes]:
        """Return status and body of its answer, from anywhere on the server; blocks.

        Raises:
            OSError: nothing answers.
            HTTPException: the answer is not HTTP.
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
        """Keep the log that an error message names, unless the start was cancelled."""
        folder = self._folder
        if folder is not None and log is not None and folder.path == log.parent and not self._unwanted.is_set():
            folder.keep()
            self._folder = None


def _sockets_in(folder: Path) -> dict[str, str]:
    """Return the variable with the folder for vLLM's sockets; nothing if their paths get too long."""
    return {"VLLM_RPC_BASE_PATH": str(folder)} if len(os.fsencode(folder)) <= _LONGEST_FOLDER else {}
