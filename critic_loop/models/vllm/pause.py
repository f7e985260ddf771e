"""A server that is paused while its weights change in place.

Knows when it is paused and resumed. Does not know where weights come from.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TypeAlias

from pydantic import JsonValue

from critic_loop.core.errors import ModelError
from critic_loop.models.vllm.servers import known_server

Post: TypeAlias = "Callable[[str, dict[str, JsonValue]], Awaitable[bytes]]"


@asynccontextmanager
async def paused(name: str, *, version: str = "", finish: bool = False) -> AsyncGenerator[Post, None]:
    """Hold a server still, starting it if need be; calls in flight go on afterwards from where they were.

    Gives a function that posts to the server beside its API, as in
    `await post("/collective_rpc", {"method": "reload_weights"})`. What is cached of prompts is forgotten.

    Args:
        name: what it serves, as behind `vllm:`.
        version: what replies have as their `weight_version` from then on; empty = weights do not change.
        finish: let the calls in flight end first.

    Raises:
        ConfigError: this process has no such server.
        ModelError: it is paused already, does not pause or go on, or died meanwhile.
    """
    server = known_server(name)

    async def post(path: str, body: dict[str, JsonValue]) -> bytes:
        return await asyncio.to_thread(server.control.post, path, body)

    async with server.turns.of(server):
        pausing = asyncio.ensure_future(asyncio.to_thread(server.pause, finish=finish))
        try:
            await asyncio.shield(pausing)
            yield post
        except BaseException:
            with suppress(ModelError):
                await pausing  # a cancelled pause leaves no server paused
                await asyncio.to_thread(server.resume, "")
            raise
        await asyncio.to_thread(server.resume, version)
