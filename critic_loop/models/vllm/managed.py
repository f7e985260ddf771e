"""A model on a vLLM server that is started for it.

Knows when the server is needed and when it is not. Does not know how it is started (`vllm.server`) or what is
asked (`models.client`). Stands below `Retrying`: a call that fails because its server died is sent again, and
the server is started again for it. Where another model can be asked, nothing waits for that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from threading import Lock
from typing import TypeAlias

from critic_loop.core.errors import EndpointError, ModelError, NoSuchModel, ServerFailed, Unreachable
from critic_loop.core.protocols import Completion, Model, Request
from critic_loop.models.vllm.adapters import Adapter
from critic_loop.models.vllm.server import Server

Client: TypeAlias = "Callable[[Server, str], Model]"
_POLL_S = 0.02
_DIES_S = 1.0
"""How long after a broken connection its server may take to be seen dead."""


class Managed:
    """A vLLM server on this machine, started with the first call and stopped when no model uses it."""

    def __init__(self, server: Server, client: Client, *, spec: str, adapter: Adapter | None = None) -> None:
        """Use a server.

        Args:
            server: which, shared with other models that it serves.
            client: makes the client for what the server, where it now listens, has under a name.
            spec: the name in records.
            adapter: the adapter that is used; None = the server's own weights.
        """
        self.adapter = adapter
        """The adapter that is used; None = the server's own weights."""
        self._server = server
        self._make = client
        self._spec = spec
        self._client: tuple[str, str, Model] | None = None
        self._lock = Lock()
        self._reviving: asyncio.Task[None] | None = None
        self._failed: ServerFailed | None = None
        """Why it could not be started again."""
        server.users.join(self)

    def __repr__(self) -> str:
        return f"Managed({self._spec!r})"

    @property
    def spec(self) -> str:
        """The name in records."""
        return self._spec

    async def complete(self, request: Request) -> Completion:
        """Answer `request` when the server is up; waiting for that does not count against its time.

        A request that another model can answer (`retries` is given) does not wait while a server that ended by
        itself is started again.

        Raises:
            ServerFailed: vLLM is not installed, or the server cannot be started, or is being started again.
            ModelError: as any endpoint's; transient where the server died under the call.
        """
        self._server.users.join(self)
        if request.retries is not None and self._server.is_lost:
            raise self._lost()
        asked_at = time.monotonic()
        async with self._server.turns.of(self._server):
            if request.on_wait is not None:
                request.on_wait(time.monotonic() - asked_at)
            begun = self._server.version
            try:
                async with self._served() as name:
                    client = await self._connected(name)
                    completion = await client.complete(request)
            except (EndpointError, Unreachable) as error:
                raise await self._explained(error, request) from error
            ended = self._server.version
        if self.adapter is not None:
            version = f"sha256:{self.adapter.digest[:16]}"
        else:
            version = ended if begun == ended else f"{begun or 'base'} > {ended}"
        return replace(completion, weight_version=completion.weight_version or version)

    @property
    def place(self) -> str:
        """What stands for the server's address where findings are kept."""
        return self._server.place

    @asynccontextmanager
    async def reached(self) -> AsyncGenerator[Model, None]:
        """Hold the server up, and give its client.

        Raises:
            ServerFailed: as for a call.
        """
        self._server.users.join(self)
        async with self._server.turns.of(self._server), self._served() as name:
            yield await self._connected(name)

    async def aclose(self) -> None:
        """Close the connections and unload the adapter, once the calls that were sent have ended.

        The server stops with the last model on it; a call that waits for its start fails. A later call has all
        of it again.
        """
        self._server.users.leave(self)
        self._leave_lost()
        while self._server.users.in_flight(self):  # noqa: ASYNC110
            await asyncio.sleep(_POLL_S)  # its calls may be on other event loops
        if self.adapter is not None:
            await self._unload(self.adapter)
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            await client[2].aclose()
        while not self._server.users.are_there and self._server.users.in_flight():  # noqa: ASYNC110
            await asyncio.sleep(_POLL_S)  # calls of models that are being closed, too
        if not self._server.users.are_there:
            await asyncio.to_thread(self._server.stop_unused)

    async def _unload(self, adapter: Adapter) -> None:
        loaded = self._server.loaded
        if loaded.name_of(adapter) in map(loaded.name_of, self._server.users.adapters()):
            return  # loaded, from this copy or another, for another model
        while not await asyncio.to_thread(loaded.release, adapter):  # noqa: ASYNC110
            await asyncio.sleep(_POLL_S)  # calls of another model that is closed at the same time

    @asynccontextmanager
    async def _served(self) -> AsyncGenerator[str, None]:
        """Hold what is asked, under the name that the server has for it."""
        with self._server.users.called_by(self):
            if self.adapter is None:
                yield self._server.name
                return
            loaded = self._server.loaded
            while (name := loaded.enter(self.adapter)) is None:
                await asyncio.to_thread(loaded.load, self.adapter)
            try:
                yield name
            finally:
                loaded.leave(name)

    async def _connected(self, name: str) -> Model:
        """Return the client for where the server listens now; one for where it did has no call in flight."""
        url = self._server.url
        with self._lock:
            old = self._client
            if old is not None and old[:2] == (url, name):
                return old[2]
            new = self._make(self._server, name)
            self._client = (url, name, new)
        if old is not None:
            await old[2].aclose()
        return new

    def _lost(self) -> ServerFailed:
        """Restart the server in the background; return the error of the call that does not wait for it."""
        failed, self._failed = self._failed, None
        if self._reviving is None or self._reviving.done():
            self._reviving = asyncio.get_running_loop().create_task(self._revived())
        what = f"vLLM serving {self._server.name!r} ended, and is being started again."
        return failed or ServerFailed(what, hint="Nothing: it is asked again when it answers.")

    async def _revived(self) -> None:
        try:
            async with self._server.turns.of(self._server):
                pass
        except ServerFailed as error:
            self._failed = error

    def _leave_lost(self) -> None:
        self._failed = None
        if self._reviving is not None:
            with suppress(RuntimeError):  # its event loop has ended, and it with that
                self._reviving.get_loop().call_soon_threadsafe(self._reviving.cancel)

    async def _explained(self, error: ModelError, request: Request) -> ModelError:
        """Return what broke a call off: the server's death, if that follows."""
        if isinstance(error, NoSuchModel) or (isinstance(error, EndpointError) and error.status is not None):
            return error
        for _ in range(10):
            if (death := self._server.death()) is not None:
                if request.retries is not None:
                    self._lost()
                    return death
                return EndpointError(death.message, hint=death.hint, transient=True)
            await asyncio.sleep(_DIES_S / 10)
        return error
