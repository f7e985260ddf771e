"""What probes found, kept for each endpoint in the user's cache folder.

Knows files. Does not know how capabilities are found out (`models.client.probe`). A file holds an address and a
model's name, and no key. `$XDG_CACHE_HOME/critic-loop/endpoints`, else `~/.cache/critic-loop/endpoints`.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from critic_loop.core.records import digest_of
from critic_loop.models.wire.profiles import Profile

if TYPE_CHECKING:
    from critic_loop.models.client.probe import Findings

_log = logging.getLogger(__name__)


def folder() -> Path:
    """Return where findings are kept; it need not exist."""
    base = os.environ.get("XDG_CACHE_HOME", "").strip()
    return (Path(base) if base else Path.home() / ".cache") / "critic-loop" / "endpoints"


def path_of(backend: str, url: str, name: str) -> Path:
    """Return the file of one model at one address."""
    return folder() / f"{digest_of([backend, url, name])}.json"


def remember(findings: Findings) -> Path:
    """Keep findings in place of earlier ones; return the file.

    Raises:
        OSError: the folder cannot be written.
    """
    path = path_of(findings.backend, findings.url, findings.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("wb", dir=path.parent, delete=False) as file:
        file.write(findings.model_dump_json(indent=2).encode())
    Path(file.name).replace(path)
    return path


def recall(backend: str, url: str, name: str) -> Findings | None:
    """Return what was found of a model, if it was probed; an unreadable file counts as none."""
    path = path_of(backend, url, name)
    try:
        content = path.read_bytes()
    except (OSError, RuntimeError):  # Path.home() may not exist
        return None
    from critic_loop.models.client.probe import Findings

    try:
        return Findings.model_validate_json(content)
    except ValidationError:
        _log.warning("%s cannot be read and is left aside", path)
        return None


def informed(profile: Profile, url: str, name: str) -> Profile:
    """Return `profile` with what a probe of this endpoint found; what that takes away is logged."""
    findings = recall(profile.name, url, name)
    if findings is None:
        return profile
    less = findings.denies(profile)
    if less:
        _log.warning(
            "Model %r at %s was found without %s (%s), and is asked accordingly; "
            "`critic-loop models probe --refresh` looks again",
            name, url, ", ".join(less), age(findings.at),
        )  # fmt: skip
    return findings.applied(profile)


def age(at: float) -> str:
    """Return how long ago `at` was, as people say it."""
    seconds = max(0.0, time.time() - at)
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"
