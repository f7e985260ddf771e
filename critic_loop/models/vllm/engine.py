"""vLLM in this process: `vllm-engine:NAME`. No port and no HTTP: its own application is called directly.

What is asked is what a server is asked, so answers are a server's. The application and its engine live on an
event loop of their own, in a thread; calls come from any other. Importing this imports no vLLM.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import itertools
import multiprocessing
import os
from collections.abc import AsyncIterator, Callable, Generator, Mapping, MutableMapping
from threading import Thread
from types import SimpleNamespace
from typing import Any, TypeAlias

import httpx
import orjson
from pydantic import JsonValue

from critic_loop.core.errors import ServerFailed
from critic_loop.models.vllm.process import GRACE_S, Watch
from critic_loop.models.vllm.server import Running, Server
from critic_loop.models.vllm.settings import Serve, written

App: TypeAlias = "Callable[..., Any]"
_numbers = itertools.count(1)


class EngineServer(Server):
    """A server without a port: vLLM's application in this process."""

    def __init__(self, name: str, serve: Serve) -> None:
        """Name the model; nothing is started yet."""
        super().__init__(name, serve)
        self._url = f"http://vllm-engine-{next(_numbers)}/v1"
        self.transport = lambda: _Direct(self._engine)

    @property
    def url(self) -> str:
        """A name in place of an address; it is never resolved."""
        return self._url

    def _begun(self) -> Running:
        given = written({"disable-log-stats": True, **self._ours, **self.serve.arguments})
        return Engine(["--model", self.name, "--api-key", self._key, *given], self._environment(), self.name)

    def _engine(self) -> Engine:
        engine = self._process
        if not isinstance(engine, Engine):
            raise httpx.ConnectError(f"vLLM for {self.name!r} has ended.")
        return engine

    def ask(
        self, method: str, path: str, body: dict[str, JsonValue] | None = None, *, timeout_s: float = 60.0
    ) -> tuple[int, bytes]:
        """Return status and body of its answer, as from anywhere on a server; blocks.

        Raises:
            OSError: nothing answers.
        """
        headers = {"Authorization": f"Bearer {self.key()}", "Content-Type": "application/json"}
        url = self._url.removesuffix("/v1") + path
        request = httpx.Request(
            method, url, headers=headers, content=b"" if body is None else orjson.dumps(body)
        )

        async def asked() -> tuple[int, bytes]:
            async with asyncio.timeout(timeout_s):
                response = await _Direct(self._engine).handle_async_request(request)
                return response.status_code, await response.aread()

        try:
            return asyncio.run(asked())
        except httpx.TransportError as error:
            raise OSError(str(error)) from error


class Engine:
    """vLLM's engine and its application, on an event loop of their own."""

    log = None

    def __init__(self, line: list[str], environment: Mapping[str, str], name: str) -> None:
        """Start it; returns when its weights are loaded.

        Args:
            line: the arguments of `vllm serve`.
            environment: variables that hold while it is built.
            name: the model's, for messages.

        Raises:
            ServerFailed: vLLM is not installed here, or cannot serve this.
        """
        os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")  # what is printed is the command's
        parts = _imported()
        self.loop = asyncio.new_event_loop()
        self._thread = Thread(target=self.loop.run_forever, name=f"vllm {name}", daemon=True)
        self._thread.start()
        self._llm: Any = None
        self._watch: Watch | None = None
        others = set(multiprocessing.active_children())
        try:
            with _set(environment):
                self.app: App = asyncio.run_coroutine_threadsafe(self._built(parts, line), self.loop).result()
        except (Exception, SystemExit) as error:
            self.stop()
            raise ServerFailed(
                f"vLLM cannot serve {name!r} in this process ({type(error).__name__}: {str(error)[:500]})",
                hint="Its output says more; its arguments are engine.arguments in the model's settings.",
            ) from error
        pids = [child.pid for child in multiprocessing.active_children() if child not in others]
        self._watch = Watch([pid for pid in pids if pid is not None])

    async def _built(self, parts: SimpleNamespace, line: list[str]) -> App:
        parser = parts.make_arg_parser(parts.FlexibleArgumentParser(exit_on_error=False))
        parser.error = _refuse
        args = parser.parse_args(line)
        self._llm = parts.AsyncLLM.from_engine_args(parts.AsyncEngineArgs.from_cli_args(args))
        tasks = await self._llm.get_supported_tasks()
        app = parts.build_app(args, tasks, self._llm.model_config)
        await parts.init_app_state(self._llm, app.state, args, tasks)
        app.state.server = SimpleNamespace(should_exit=False)  # what it stops when its engine has died
        return app

    @property
    def alive(self) -> bool:
        """Whether it answers."""
        return self._thread.is_alive() and not self._llm.errored

    def report(self) -> str:
        """Return where to read more."""
        return "; what it printed says why."

    def ask_to_end(self) -> None:
        """Do nothing: it ends in `stop`."""

    def stop(self) -> None:
        """End it, with the processes that it has."""
        if not self._thread.is_alive():
            return

        asyncio.run_coroutine_threadsafe(self._end(), self.loop)
        self._thread.join(2 * GRACE_S)  # it gives its own processes five seconds
        if not self._thread.is_alive():
            self.loop.close()
        if self._watch is not None:
            self._watch.end()

    async def _end(self) -> None:
        try:
            if self._llm is not None:
                self._llm.shutdown()
            left = asyncio.all_tasks() - {asyncio.current_task()}
            for task in left:
                task.cancel()
            await asyncio.wait_for(asyncio.gather(*left, return_exceptions=True), 1.0)
        finally:
            self.loop.stop()


def _refuse(message: str) -> None:
    raise ValueError(message)


@contextlib.contextmanager
def _set(environment: Mapping[str, str]) -> Generator[None, None, None]:
    """Hold variables that vLLM reads when its application is built."""
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _imported() -> SimpleNamespace:
    """Return what is needed of vLLM.

    Raises:
        ServerFailed: it is not installed in this Python, or lacks something.
    """
    if importlib.util.find_spec("vllm") is None:
        raise ServerFailed(
            "vLLM is not installed in this Python, and `vllm-engine:NAME` runs it here.",
            hint="pip install 'critic-loop[vllm]', or write vllm:NAME, which another installation can serve.",
        )
    try:
        from vllm.engine.arg_utils import AsyncEngineArgs  # pyright: ignore[reportMissingImports]
        from vllm.entrypoints.launchers.api_server.app_state import init_app_state  # pyright: ignore[reportMissingImports]
        from vllm.entrypoints.launchers.app import build_app  # pyright: ignore[reportMissingImports]
        from vllm.entrypoints.launchers.cli_args import make_arg_parser  # pyright: ignore[reportMissingImports]
        from vllm.utils.argparse_utils import FlexibleArgumentParser  # pyright: ignore[reportMissingImports]
        from vllm.v1.engine.async_llm import AsyncLLM  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ServerFailed(
            f"This vLLM does not fit `vllm-engine:NAME` ({error}).",
            hint="It is known to work with vLLM 0.32; vllm:NAME works with others, too.",
        ) from error
    return SimpleNamespace(
        AsyncEngineArgs=AsyncEngineArgs,
        AsyncLLM=AsyncLLM,
        FlexibleArgumentParser=FlexibleArgumentParser,
        build_app=build_app,
        init_app_state=init_app_state,
        make_arg_parser=make_arg_parser,
    )


# -- asking an application ---------------------------------------------------------------------


class _Direct(httpx.AsyncBaseTransport):
    """Asks the application of an engine, from any event loop."""

    def __init__(self, engine: Callable[[], Engine]) -> None:
        self._engine = engine

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        engine = self._engine()
        exchange = _Exchange(engine.loop)
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": request.url.scheme,
            "path": request.url.path,
            "raw_path": request.url.raw_path.partition(b"?")[0],
            "query_string": request.url.query,
            "root_path": "",
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "server": (request.url.host, 80),
            "client": ("127.0.0.1", 0),
        }
        content = await request.aread()
        with contextlib.suppress(RuntimeError):  # its event loop is closed: the thread is dead, too
            asyncio.run_coroutine_threadsafe(exchange.run(engine.app, scope, content), engine.loop)
        try:
            status, headers = await exchange.begun()
        except BaseException:
            exchange.leave()
            raise
        return httpx.Response(status, headers=headers, stream=exchange)


class _Exchange(httpx.AsyncByteStream):
    """A request and its answer, between the application's event loop and the caller's."""

    def __init__(self, there: asyncio.AbstractEventLoop) -> None:
        self._here, self._there = asyncio.get_running_loop(), there
        self._came: asyncio.Queue[MutableMapping[str, Any] | Exception] = asyncio.Queue()
        self._gone = asyncio.Event()

    async def run(self, app: App, scope: dict[str, Any], content: bytes) -> None:
        """Call the application; on its own event loop."""
        pieces = iter([{"type": "http.request", "body": content, "more_body": False}])

        async def receive() -> dict[str, Any]:
            for piece in pieces:
                return piece
            await self._gone.wait()
            return {"type": "http.disconnect"}

        try:
            await app(scope, receive, self._send)
        except Exception as error:  # noqa: BLE001  # raised where the call is
            self._deliver(error)
        finally:
            self._gone.set()

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        self._deliver(message)

    def _deliver(self, what: MutableMapping[str, Any] | Exception) -> None:
        with contextlib.suppress(RuntimeError):  # the caller's event loop has ended
            self._here.call_soon_threadsafe(self._came.put_nowait, what)

    async def _next(self) -> MutableMapping[str, Any]:
        while True:
            try:
                came = await asyncio.wait_for(self._came.get(), _LOOK_S)
            except TimeoutError:
                if not self._there.is_running():
                    raise httpx.ReadError("vLLM has ended.") from None
                continue
            if isinstance(came, Exception):
                raise httpx.ReadError(f"vLLM broke off ({type(came).__name__}).") from came
            return came

    async def begun(self) -> tuple[int, list[tuple[bytes, bytes]]]:
        """Return the status and the headers."""
        message = await self._next()
        return int(message["status"]), list(message.get("headers", ()))

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            message = await self._next()
            yield message.get("body", b"")
            if not message.get("more_body", False):
                return

    async def aclose(self) -> None:
        """Tell the application that the client has disconnected."""
        self.leave()

    def leave(self) -> None:
        """Tell the application that the client has disconnected."""
        with contextlib.suppress(RuntimeError):
            self._there.call_soon_threadsafe(self._gone.set)


_LOOK_S = 1.0
"""How often it is looked whether the engine still runs."""
