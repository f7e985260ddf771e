"""Run awaitables at once; none is cancelled because of another's error."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import TypeVar

T = TypeVar("T")


async def gather(awaitables: Iterable[Awaitable[T]]) -> list[T]:
    """Run all; raise the first error when all have settled, so that no paid answer is lost."""
    each = list(awaitables)
    if len(each) == 1:
        return [await each[0]]
    settled: list[T] = []
    for result in await asyncio.gather(*each, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
        settled.append(result)
    return settled
