"""What `config` and `models` write."""

from __future__ import annotations

from typing import Literal

from pydantic import JsonValue

from critic_loop.cli.documents.base import Document, Error


class Setting(Document):
    """A setting that is in force."""

    value: JsonValue
    origin: Literal["default", "file", "environment", "flag"]
    variable: str
    """The environment variable that would give it."""


class ConfigDocument(Document):
    """`critic-loop config --json`. What may be a secret is left out."""

    file: str | None
    settings: dict[str, Setting]
    models: dict[str, dict[str, JsonValue]]
    """The `[models.NAME]` tables, as they are written."""


class ConfigPathDocument(Document):
    """`critic-loop config path --json`."""

    file: str | None


class Key(Document):
    """Where an endpoint's key comes from; the key itself is never shown."""

    variable: str
    set: bool


class ModelRow(Document):
    """One configured model."""

    names: list[str]
    """The slots that it plays, and its table."""
    spec: str
    backend: str
    url: str | None
    key: Key | None
    capabilities: dict[str, JsonValue]
    about: str
    answers: bool | None
    """null = it was not asked."""
    listed: bool | None
    """Whether the endpoint lists the model; null = it lists nothing."""
    latency_s: float | None
    """Of the list of models."""
    probe_s: float | None
    """Of an answer of one token."""
    error: Error | None


class Finding(Document):
    """What was seen of one capability."""

    can: bool | None
    """null = unknown."""
    text: str


class ProbeDocument(Document):
    """`critic-loop models probe --json`."""

    spec: str
    backend: str
    name: str
    url: str
    at: float
    """When it was asked, in seconds since the epoch."""
    kept: bool
    """Whether this is an earlier probe's answer."""
    found: dict[str, Finding]


class ModelsDocument(Document):
    """`critic-loop models --json`."""

    models: list[ModelRow]
    backends: list[str]
