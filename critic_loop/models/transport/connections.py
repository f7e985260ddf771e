"""HTTP connections, one transport per running event loop, and their errors.

Knows httpx and aiohttp: httpx's transport is the seam, aiohttp's connection pool works behind it,
because httpx's own costs twenty times the CPU at 64 calls in flight. The transport is called without
an `httpx.AsyncClient` around it, whose redirects, cookies and auth are not needed here and which costs
0.1 ms a call (`benchmarks/transport.py`). Knows no wire format. Imported only when a call is made.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Callable
from urllib.request import getproxies_environment, proxy_bypass
from weakref import WeakKeyDictionary

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from critic_loop.core.errors import EndpointError, ModelError, Unreachable

_KEEPALIVE_S = 4.0
"""Below the five seconds after which uvicorn, and so vLLM, closes an idle connection."""
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Connections:
    """Gives the transport of the running event loop; closes it when that loop shuts down.

    Each transport is held by an async generator: event loops close those that they have seen when
    `asyncio.run` ends, so connections are closed without a call to `aclose`.
    """

    def __init__(self, make: Callable[[], httpx.AsyncBaseTransport]) -> None:
        """Take a function that makes a transport for the running loop."""
        self._make = make
        self._open: WeakKeyDictionary[asyncio.AbstractEventLoop, _Held] = WeakKeyDictionary()

    async def transport(self) -> httpx.AsyncBaseTransport:
        """Return the running loop's transport, made on first use."""
        loop = asyncio.get_running_loop()
        held = self._open.get(loop)
        if held is None:
            self._forget_closed()
            held = self._open[loop] = _Held(self._make())
            await held.start(lambda: self._open.pop(loop, None))
        return held.transport

    async def aclose(self) -> None:
        """Close the transports of this loop and of those that run in other threads."""
        here = asyncio.get_running_loop()
        for loop in list(self._open):
            held = self._open.get(loop)
            if held is None:
                continue
            if loop is here:
                await held.close()
            elif loop.is_running():
                await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(held.close(), loop))

    def _forget_closed(self) -> None:
        for loop in [loop for loop in self._open if loop.is_closed()]:
            self._open.pop(loop, None)


class _Held:
    """A transport and the generator that closes it."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self.transport = transport
        self._keeper: AsyncGenerator[None, None] | None = None

    async def start(self, forget: Callable[[], object]) -> None:
        self._keeper = self._keep(forget)
        await anext(self._keeper)

    async def _keep(self, forget: Callable[[], object]) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            forget()
            await self.transport.aclose()

    async def close(self) -> None:
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            await keeper.aclose()


def open_transport(url: httpx.URL) -> httpx.AsyncBaseTransport:
    """Return a transport whose pool is aiohttp's, without a limit on connections and without cookies."""
    context = _context(secure=url.scheme == "https")
    return AiohttpTransport(verify=context, client=lambda: _session(context), proxy=_proxy(url))


def _context(*, secure: bool) -> ssl.SSLContext:
    if secure:
        return httpx.create_ssl_context()
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # never used: loading certificates takes 20 ms


def _session(context: ssl.SSLContext) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE_S, ssl=context)
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())


def _proxy(url: httpx.URL) -> httpx.Proxy | None:
    """Return the proxy that the environment names for `url`; never one for loopback."""
    if url.host in _LOOPBACK or proxy_bypass(url.host):
        return None
    named = getproxies_environment().get(url.scheme)
    return httpx.Proxy(named) if named else None


def connection_failure(error: Exception, *, endpoint: str) -> ModelError:
    """Return the typed error for what the transport raised.

    httpx-aiohttp calls a dropped connection a connect timeout, so the cause decides, not the class.
    """
    cause = error.__cause__ or error
    reason = type(cause).__name__
    unreached = aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError | aiohttp.InvalidURL
    if isinstance(cause, unreached) or isinstance(error, httpx.ConnectError):
        return Unreachable(
            f"{endpoint} cannot be reached ({reason}).",
            hint="Check the address, and that the server is up.",
        )
    return EndpointError(f"{endpoint} broke off the connection ({reason}).", transient=True)


CONNECTION_ERRORS = (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, aiohttp.ClientError, OSError)
"""What the transport may raise. `TimeoutError`, an `OSError`, is the caller's deadline: catch it first."""
