"""What probes found out about endpoints, and the files in which that is kept.

Knows capabilities and files. Does not know how capabilities are probed (`client.probe`). A file holds an
address and a model's name, and no key. Folder: `$XDG_CACHE_HOME/critic-loop/endpoints`, else
`~/.cache/critic-loop/endpoints`.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeAlias

from pydantic import ValidationError

from critic_loop.core.messages import Frozen
from critic_loop.core.records import digest_of
from critic_loop.models.wire.profiles import Profile

Capability: TypeAlias = Literal[
    "tools", "json_schema", "logprobs", "prompt_logprobs", "token_ids", "n", "seed", "images"
]
_log = logging.getLogger(__name__)


class Finding(Frozen):
    """What was seen of one capability."""

    can: bool | None
    """None: unknown. It is not kept, and changes no profile."""
    text: str = ""
    """What the endpoint did or returned, where that explains the finding."""


class Findings(Frozen):
    """What one model at one address was found to be able to do."""

    backend: str
    name: str
    url: str
    at: float
    """Seconds since the epoch."""
    found: dict[Capability, Finding]

    def of(self, name: Capability) -> Finding:
        """Return what was found of a capability."""
        return self.found.get(name) or Finding(can=None)

    def denies(self, profile: Profile) -> list[str]:
        """Return the capabilities that `profile` has and this endpoint was found not to have."""
        has = {
            "json_schema": profile.output == "json_schema",
            "n": profile.many_choices,
            "prompt_logprobs": profile.prompt_logprobs,
            "token_ids": profile.return_token_ids,
        }
        return [name for name, finding in self.found.items() if finding.can is False and has.get(name, False)]

    def applied(self, profile: Profile) -> Profile:
        """Return `profile` with what was found in place of its defaults."""
        can = {name: finding.can for name, finding in self.found.items() if finding.can is not None}
        if can.get("json_schema") is False and profile.output == "json_schema":
            profile = replace(profile, output="json_object")
        lacks = {name for name in ("tools", "seed", "logprobs", "images") if can.get(name) is False}
        return replace(
            profile,
            many_choices=can.get("n", profile.many_choices),
            return_token_ids=can.get("token_ids", profile.return_token_ids),
            prompt_logprobs=can.get("prompt_logprobs", profile.prompt_logprobs),
            lacks=profile.lacks | lacks,
        )


def together(findings: Sequence[Findings]) -> Findings:
    """Return what several replicas can do as one model: what each of them can do."""
    first = findings[0]
    if len(findings) == 1:
        return first
    found: dict[Capability, Finding] = {}
    names: dict[Capability, None] = {name: None for one in findings for name in one.found}
    for name in names:
        each = [(one.url, one.of(name)) for one in findings]
        worst = min((finding.can for _, finding in each), key=(False, None, True).index)
        why = {url: finding.text for url, finding in each if finding.can is worst and (worst is not True)}
        said = "unknown" if worst is None else str(worst)
        found[name] = Finding(can=worst, text="; ".join(f"{url}: {text or said}" for url, text in why.items()))
    return Findings(
        backend=first.backend,
        name=first.name,
        url=",".join(one.url for one in findings),
        at=min(one.at for one in findings),
        found=found,
    )


def folder() -> Path:
    """Return where findings are kept; it need not exist."""
    base = os.environ.get("XDG_CACHE_HOME", "").strip()
    return (Path(base) if base else Path.home() / ".cache") / "critic-loop" / "endpoints"


def path_of(backend: str, url: str, name: str) -> Path:
    """Return the file of one model at one address."""
    return folder() / f"{digest_of([backend, url, name])}.json"


def save_findings(findings: Findings) -> Path:
    """Keep what is known in place of earlier findings; return the file.

    Raises:
        OSError: the folder cannot be written.
    """
    known = {name: finding for name, finding in findings.found.items() if finding.can is not None}
    findings = findings.model_copy(update={"found": known})
    path = path_of(findings.backend, findings.url, findings.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("wb", dir=path.parent, delete=False) as file:
        file.write(findings.model_dump_json(indent=2).encode())
    Path(file.name).replace(path)
    return path


def load_findings(backend: str, url: str, name: str) -> Findings | None:
    """Return the findings about a model, None if it was not probed; an unreadable file counts as none."""
    path = path_of(backend, url, name)
    try:
        content = path.read_bytes()
    except (OSError, RuntimeError):  # Path.home() may not exist
        return None
    try:
        return Findings.model_validate_json(content)
    except ValidationError:
        _log.warning("%s is not readable and is ignored", path)
        return None


def with_findings(profile: Profile, url: str, name: str) -> Profile:
    """Return `profile` with what a probe of this endpoint found; capabilities that it loses are logged."""
    findings = load_findings(profile.name, url, name)
    if findings is None:
        return profile
    less = findings.denies(profile)
    if less:
        _log.warning(
            "Model %r at %s does not support %s according to a probe (%s), and gets requests without it; "
            "`critic-loop models probe --refresh` probes again",
            name, url, ", ".join(less), age(findings.at),
        )  # fmt: skip
    return findings.applied(profile)


def age(at: float) -> str:
    """Return how long ago `at` was, as in `3 hours ago`."""
    seconds = max(0.0, time.time() - at)
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"
