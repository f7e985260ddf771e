"""A tool that converts quantities, and remembers for a whole task the units that it was told."""

import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from critic_loop.core import Tool, ToolContext, ToolOutput, ToolScope, tool_digest
from critic_loop_units.units import UNITS, Measure, measure


class Converter:
    """Converts quantities. All attempts of a task share the units that one of them defines."""

    name = "convert"
    description = "Convert a quantity such as '3 furlong' to a unit; `define` tells it units it does not know."
    read_only = False
    irreversible = False
    timeout_s = 5.0
    scope: ToolScope = "tree"

    def __init__(self, kept: Path | None = None) -> None:
        self._kept = kept

    @property
    def parameters(self) -> dict[str, Any]:
        """JSON Schema of the arguments."""
        texts = {"quantity": {"type": "string"}, "to": {"type": "string", "description": "a unit"}}
        define = {"type": "object", "additionalProperties": {"type": "string"}}
        return {"type": "object", "properties": texts | {"define": define}, "required": ["quantity", "to"]}

    def digest(self) -> str:
        """Return what tells it from other tools: what the model is told of it, and the units that it knows."""
        return tool_digest(self, *sorted(UNITS))

    @contextmanager
    def open(self, context: ToolContext) -> Generator[Tool]:
        """Open it for one task, with a file of its own for the units that are defined there."""
        kept = context.scratch / "units.json"
        kept.write_text("{}")
        yield Converter(kept)

    async def run(self, arguments: Mapping[str, Any], context: ToolContext) -> ToolOutput:
        """Answer with the converted quantity; unknown units are an error that the model is shown."""
        units = self._units(arguments.get("define", {}))
        found, to = measure(arguments["quantity"], units), units.get(arguments["to"])
        if found is None or to is None or found.kind != to.kind:
            return ToolOutput.of(f"known units: {', '.join(sorted(units))}", is_error=True)
        return ToolOutput.of(f"{found.amount / to.amount:g} {arguments['to']}")

    def _units(self, defined: Mapping[str, str]) -> dict[str, Measure]:
        if self._kept is None:
            raise RuntimeError("the converter is not open")
        own: dict[str, str] = {**json.loads(self._kept.read_text()), **defined}
        self._kept.write_text(json.dumps(own))
        worth = {unit: measure(text) for unit, text in own.items()}
        return UNITS | {unit: found for unit, found in worth.items() if found is not None}
