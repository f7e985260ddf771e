"""A critic in a process of its own, to be killed: python -m tests.resume.critic PORT LOG ANSWERS.

It accepts what is better than a draft. After so many answers it takes requests and says nothing.
"""

from __future__ import annotations

import asyncio
import sys

from critic_loop.testing import Received, TestServer


async def main(port: int, log: str, answers: int) -> None:
    """Say where it listens, and serve until it is killed."""

    async def reply(received: Received) -> str:
        if received.number > answers:
            await asyncio.Event().wait()
        return "first\nVerdict: " + ("correct" if "better" in received.text else "wrong")

    async with TestServer(reply, port=port, log=log) as server:
        print(server.url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
