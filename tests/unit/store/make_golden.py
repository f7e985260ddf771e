"""Made golden/v1.db, once. A golden file of a released version is never made again.

python tests/unit/store/make_golden.py tests/unit/store/golden/v1.db
"""

from __future__ import annotations

import asyncio
import sys

from critic_loop.store.sqlite import SqliteStore
from critic_loop.testing.trees import ALL


async def main(path: str) -> None:
    store = SqliteStore(path, page_bytes=1024)
    for name in ("gate", "image", "chinese", "multi-critique"):
        await store.append(name, *ALL[name]().log)
    await store.aclose()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
