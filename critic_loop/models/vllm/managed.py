"""A model on a server that is started for it.

Knows when the server is needed and when no more. Does not know how it is started (`vllm.server`) nor what is
asked (`models.chat`). Stands below `Retrying`: a call that its server's death broke off is sent again, and
finds the server started anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from threading import Lock

from critic_loop.core.errors import ModelError, Unreachable
from critic_loop.core.protocols import Completion, Model, Request
from critic_loop.models.failures import EndpointError
from critic_loop.models.vllm.server import Server

_DIES_S = 1.0
"""How long after a broken connection its server may take to be seen dead."""


class Managed:
    """A vLLM server on this machine, started when it is first asked and stopped when nobody needs it."""

    def __init__(self, server: Server, client: Callable[[Server], Model], *, spec: str) -> None:
        """Stand in front of a server.

        Args:
            server: which, shared with other models that it serves.
            client: makes the client for the server where it now listens.
            spec: the name in records.
        """
        self._server = server
        self._make = client
        self._spec = spec
        self._client: tuple[str, Model] | None = None
        self._lock = Lock()
        server.users.add(self)

    def __repr__(self) -> str:
        return f"Managed({self._spec!r})"

    @property
    def spec(self) -> str:
        """The name in records."""
        return self._spec

    async def complete(self, request: Request) -> Completion:
        """Answer `request` when the server is up; waiting for that does not count against its time.

        Raises:
            ServerFailed: vLLM is not installed, or the server cannot be started.
            ModelError: as any endpoint's; transient where the server died under the call.
        """
        self._server.users.add(self)
        async with self._server.turns.of(self._server):
            try:
                client = await self._connected()
                return await client.complete(request)
            except (EndpointError, Unreachable) as error:
                raise await self._explained(error) from error

    async def aclose(self) -> None:
        """Close the connections; the server stops with the last model on it, and starts again for a call."""
        client, self._client = self._client, None
        if client is not None:
            await client[1].aclose()
        self._server.users.discard(self)
        if not self._server.users:
            await asyncio.to_thread(self._server.stop)

    async def _connected(self) -> Model:
        """Return the client for where the server listens now; one for where it did has no call in flight."""
        url = self._server.url
        with self._lock:
            old = self._client
            if old is not None and old[0] == url:
                return old[1]
            new = self._make(self._server)
            self._client = (url, new)
        if old is not None:
            await old[1].aclose()
        return new

    async def _explained(self, error: ModelError) -> ModelError:
        """Return what broke a call off: the server's death, if that follows."""
        if isinstance(error, EndpointError) and error.status is not None:
            return error
        for _ in range(10):
            if (death := self._server.death()) is not None:
                return EndpointError(death.message, hint=death.hint, transient=True)
            await asyncio.sleep(_DIES_S / 10)
        return error
