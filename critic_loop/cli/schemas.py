"""The JSON Schemas of what commands write with `--json`: `python -m critic_loop.cli.schemas [FOLDER]`.

Knows documents by the command that writes them. `critic_loop.store.schemas` does the same for records.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import JsonValue, TypeAdapter

from critic_loop.cli.documents import base, recipes, settings, trees, work
from critic_loop.graph.events import StreamEvent
from critic_loop.graph.result import ResultJson
from critic_loop.metrics import Why
from critic_loop.render.outline import Outline
from critic_loop.store.schemas import write

FOLDER = Path("docs/schemas/cli")
DOCUMENTS: Mapping[str, Any] = {
    "compare": trees.CompareDocument,
    "config": settings.ConfigDocument,
    "config-path": settings.ConfigPathDocument,
    "demo": work.DemoDocument,
    "error": base.ErrorDocument,
    "export": work.ExportDocument,
    "failures": trees.FailuresDocument,
    "models": settings.ModelsDocument,
    "models-probe": settings.ProbeDocument,
    "new": recipes.NewDocument,
    "recipes": recipes.RecipesDocument,
    "recipes-check": recipes.CheckDocument,
    "result": ResultJson[JsonValue],
    "run": work.RunDocument,
    "show": Outline,
    "show-list": trees.TreesDocument,
    "why": Why,
}
"""By command; `error` is any command's, `result` a line of `run --out`."""
_PUBLISHED: Mapping[str, Any] = {**DOCUMENTS, "stream-event": StreamEvent}
"""With what no command writes, but a server on `Loop.stream` does."""


def schemas() -> dict[str, dict[str, Any]]:
    """Return the schema of each document by name."""
    return {name: _schema(kind) for name, kind in _PUBLISHED.items()}


def _schema(kind: Any) -> dict[str, Any]:
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    schema = adapter.json_schema(mode="serialization", by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write the JSON Schemas.")
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    for path in write(schemas(), parser.parse_args().folder):
        sys.stdout.write(f"{path}\n")
