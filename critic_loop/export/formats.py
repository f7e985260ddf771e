"""The target formats by name.

Knows the built-in formats and how settings become an exporter. Other packages register theirs in the entry
point group `critic_loop.exporters`; any exporter can be named by its path, `package.module:name`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from critic_loop.core import plugins
from critic_loop.core.errors import ConfigError
from critic_loop.export.base import Exporter
from critic_loop.export.critique_sft import CritiqueSft
from critic_loop.export.preference import Preference
from critic_loop.export.sft import Sft

GROUP = "critic_loop.exporters"

FORMATS: dict[str, type[Exporter]] = {"critique_sft": CritiqueSft, "preference": Preference, "sft": Sft}


def exporter_of(given: str | Exporter, settings: Mapping[str, Any] | None = None) -> Exporter:
    """Return the exporter of a name with `settings` as its fields; an exporter is returned unchanged.

    Raises:
        ConfigError: the name or a setting is unknown, a setting is invalid, or an exporter is given settings.
    """
    if not isinstance(given, str):
        if settings:
            raise ConfigError(
                f"settings= cannot change the exporter object {given.name!r}.",
                hint="Set its fields where it is built, or name the format.",
            )
        return given
    kind: Any = FORMATS.get(given) or plugins.find(GROUP, given)
    if kind is None:
        known = ", ".join(sorted([*FORMATS, *plugins.names(GROUP)]))
        raise ConfigError(
            f"unknown export format {given!r}.", hint=f"Write one of {known}, or 'package.module:name'."
        )
    if not isinstance(kind, type):
        return exporter_of(kind, settings) if isinstance(kind, Exporter) else kind(**(settings or {}))
    return _built(given, kind, dict(settings or {}))


def _built(name: str, kind: type[Any], settings: dict[str, Any]) -> Exporter:
    if not dataclasses.is_dataclass(kind):
        return kind(**settings)
    known = [field.name for field in dataclasses.fields(kind)]
    if unknown := sorted(set(settings) - set(known)):
        raise ConfigError(
            f"export format {name!r} has no setting {unknown[0]!r}.", hint=f"There are: {', '.join(known)}."
        )
    try:
        return TypeAdapter[Any](kind).validate_python(settings)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ConfigError(f"export format {name!r}, setting {where!r}: {first['msg']}.") from error


def settings_of(exporter: Exporter) -> dict[str, Any]:
    """Return an exporter's settings as JSON values; empty if it is not a dataclass."""
    if not dataclasses.is_dataclass(exporter):
        return {}
    return TypeAdapter[Any](type(exporter)).dump_python(exporter, mode="json")
