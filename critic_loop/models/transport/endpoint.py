"""One address over HTTP: sends JSON, reads the answer, raises typed errors.

Knows connections, headers and bodies that are not JSON. Does not know what a body means (`models.wire`), and
does not retry (`wrappers.retry`). Stores no key: it is looked up for each request (`transport.keys`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar
from urllib.parse import urlsplit

import orjson

from critic_loop.core.errors import ConfigError, DeadlineExceeded, EndpointError, ModelError
from critic_loop.models.transport.failures import failure
from critic_loop.models.transport.keys import key_of

if TYPE_CHECKING:
    import httpx

    from critic_loop.models.transport.connections import Connections

T = TypeVar("T")
Json: TypeAlias = dict[str, Any]
_CONNECT = {"connect": 10.0}
"""Time limits of httpx, in seconds."""
_HEADERS = {
    "Content-Type": "application/json",
    "Accept-Encoding": "gzip, deflate",
    "User-Agent": "critic-loop",
}
_PATHS = ("/chat/completions", "/messages")
"""Endings that are often copied along with a base address."""


class Endpoint:
    """The address of a model. Its `str()` is its name in messages and logs."""

    def __init__(
        self,
        url: str,
        *,
        model: str,
        key_env: str,
        headers: Callable[[str], dict[str, str]],
        key: Callable[[], str] | None = None,
        transport: Callable[[], httpx.AsyncBaseTransport] | None = None,
    ) -> None:
        """Name an address; nothing is sent yet.

        Args:
            url: the base address.
            model: the model's name, for messages.
            key_env: the environment variable that holds the key; empty if there is none.
            headers: the key, which may be empty, to headers beside the usual ones.
            key: the key of a server that was started here; None = what `key_env` holds.
            transport: makes another httpx transport for each event loop.

        Raises:
            ConfigError: the address is no http(s) address, or holds a password.
        """
        self.url = checked_url(url)
        self.key_env = key_env
        self._model = model
        self._headers = headers
        self._own_key = key
        self._transport = transport
        self._connections: Connections | None = None
        self._targets: dict[str, httpx.URL] = {}

    def __str__(self) -> str:
        return f"Model {self._model!r} at {self.url}"

    async def post(self, path: str, body: Json, read: Callable[[httpx.Response], Awaitable[T]]) -> T:
        """Send `body` to `path` and return what `read` makes of the answer, which it may stream.

        Raises:
            ModelError: nothing answers, or the connection breaks; `TimeoutError` is the caller's.
        """
        return await self._exchange("POST", path, orjson.dumps(body), read)

    async def get(self, path: str, *, timeout_s: float) -> Json:
        """Return the JSON object at `path`.

        Raises:
            ModelError: nothing answers in time, or not with an object.
        """
        try:
            async with asyncio.timeout(timeout_s):
                return await self._exchange("GET", path, None, self._object)
        except TimeoutError:
            raise DeadlineExceeded(f"{self} did not answer {path} within {timeout_s:g} s.") from None

    async def aclose(self) -> None:
        """Close the connections; a later request opens new ones."""
        if self._connections is not None:
            await self._connections.aclose()

    def parsed(self, content: bytes, response: httpx.Response) -> Json:
        """Return a body as an object.

        Raises:
            ModelError: it is not an object, or it is an error with status 200.
        """
        try:
            answer = orjson.loads(content)
        except orjson.JSONDecodeError as error:
            raise self.malformed(f"not JSON ({error})") from error
        if not isinstance(answer, dict):
            raise self.malformed("not a JSON object")
        if answer.get("error") and not answer.keys() & {"choices", "content"}:
            raise self.failed(response, content)
        return answer

    def failed(self, response: httpx.Response, content: bytes) -> ModelError:
        """Return the error that an answer stands for."""
        return failure(
            response.status_code,
            content,
            response.headers,
            endpoint=str(self),
            key_env=self.key_env,
            secret=self._key(),
        )

    def malformed(self, what: str) -> EndpointError:
        """Return the error for an answer that is not in the format."""
        return EndpointError(
            f"{self} sent {what}.",
            hint="Check the address, and that the backend's name in the spec is that of its wire format.",
            status=200,
            transient=True,
        )

    async def _object(self, response: httpx.Response) -> Json:
        content = await response.aread()
        if response.status_code != 200:
            raise self.failed(response, content)
        return self.parsed(content, response)

    async def _exchange(
        self, method: str, path: str, content: bytes | None, read: Callable[[httpx.Response], Awaitable[T]]
    ) -> T:
        from critic_loop.models.transport.connections import CONNECTION_ERRORS, connection_failure

        transport = await self._connected().transport()
        try:
            response = await transport.handle_async_request(self._request(method, path, content))
            try:
                return await read(response)
            finally:
                await response.aclose()
        except TimeoutError:
            raise
        except CONNECTION_ERRORS as error:
            raise connection_failure(error, endpoint=str(self)) from error

    def _request(self, method: str, path: str, content: bytes | None) -> httpx.Request:
        import httpx

        headers = _HEADERS | self._headers(self._key())
        return httpx.Request(
            method, self._target(path), headers=headers, content=content, extensions={"timeout": _CONNECT}
        )

    def _target(self, path: str) -> httpx.URL:
        """Return the address of `path`; parsing one takes longer than all else that a request needs."""
        if path not in self._targets:
            import httpx

            self._targets[path] = httpx.URL(self.url + path)
        return self._targets[path]

    def _connected(self) -> Connections:
        if self._connections is None:
            from critic_loop.models.transport.connections import Connections, open_transport

            self._connections = Connections(self._transport or partial(open_transport, self._target("")))
        return self._connections

    def _key(self) -> str:
        if self._own_key is not None:
            return self._own_key()
        return key_of(self.key_env)


async def at_once(calls: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Run calls at the same time; the first failure cancels the others and is raised."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def checked_url(url: str) -> str:
    """Return a base address in one form, `/v1` added where there is no path.

    Raises:
        ConfigError: it is not an http(s) address, or holds what may be a secret.
    """
    if set("@?#") & set(url):  # wherever it stands: a password may hold what ends a host
        raise ConfigError(
            "A model's address holds a user, a password or a query, which would end up in records.",
            hint="Put the key into an environment variable and name it as key_env in the model's settings.",
        )
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:  # its text may show what was typed for a port
        raise ConfigError(
            "A model's address has an invalid host or port.", hint="Write http://host:port/v1."
        ) from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"{url!r} is not the address of a server.", hint="Write http://host:port/v1.")
    path = parts.path.rstrip("/")
    for behind in _PATHS:
        path = path.removesuffix(behind)
    return f"{parts.scheme}://{parts.netloc}{path or '/v1'}"
