"""Answers that are text: the whole reply, a box, a program, one of several choices.

Knows where such answers are in a reply. Does not know whether they are right (`verifiers/`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pydantic import JsonValue

from critic_loop.core.errors import OutputError
from critic_loop.core.messages import Message
from critic_loop.core.protocols import OutputSchema, Parsed
from critic_loop.outputs.base import clipped, visible
from critic_loop.outputs.fences import blocks

_ALIASES = {
    "py": "python",
    "python3": "python",
    "js": "javascript",
    "ts": "typescript",
    "sh": "bash",
    "shell": "bash",
    "c++": "cpp",
    "rs": "rust",
    "golang": "go",
}


class _TextValued:
    """Base of outputs whose value is a string."""

    @property
    def schema(self) -> OutputSchema | None:
        """None: text has no schema."""
        return None

    def dump(self, value: str) -> JsonValue:
        """Return the text itself."""
        return value

    def load(self, answer: JsonValue) -> str:
        """Return the text that was dumped.

        Raises:
            OutputError: `answer` is not text.
        """
        if not isinstance(answer, str):
            raise OutputError(f"the stored answer is {type(answer).__name__}, not text.")
        return answer

    def describe(self) -> str:
        """Return "": the prompt describes the format."""
        return ""


@dataclass(frozen=True, slots=True)
class TextOutput(_TextValued):
    """The whole text of the reply."""

    @property
    def name(self) -> str:
        """`text`."""
        return "text"

    def parse(self, message: Message) -> Parsed[str]:
        """Return the text of the message, unchanged."""
        if not message.text.strip():
            return Parsed.unparsed("the reply has no text")
        return Parsed(message.text)


@dataclass(frozen=True, slots=True)
class BoxedOutput(_TextValued):
    r"""The content of the last `\boxed{...}`, normalised."""

    @property
    def name(self) -> str:
        """`boxed`."""
        return "boxed"

    def parse(self, message: Message) -> Parsed[str]:
        r"""Return the content of the last closed `\boxed{...}`."""
        content = _last_boxed(visible(message.text))
        if content is None:
            return Parsed.unparsed(r"no \boxed{...} found: expected the final answer in \boxed{}")
        answer = _without_spacing(content)
        if not answer:
            return Parsed.unparsed(r"the last \boxed{...} is empty")
        return Parsed(answer)


_BOXED = re.compile(r"\\f?boxed\s*\{")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)


def _last_boxed(text: str) -> str | None:
    """Return the content of the last box that is closed."""
    starts = [match.end() for match in _BOXED.finditer(text)]
    for start in reversed(starts[-20:]):
        depth = 1
        for token in _BRACE.finditer(text, start):
            depth += {"{": 1, "}": -1}.get(token[0], 0)
            if depth == 0:
                return text[start : token.start()]
    return None


_SPACING = re.compile(r"\\[!,;:]|\\(?:left|right|displaystyle)(?![A-Za-z])|[$~]")


def _without_spacing(latex: str) -> str:
    r"""Return LaTeX without what does not change its meaning: spacing, `$`, `\left`, a final full stop."""
    kept = latex.replace(r"\$", "")
    kept = _SPACING.sub(" ", kept)
    kept = re.sub(r"\\[dt]frac(?![A-Za-z])", r"\\frac", kept)
    return " ".join(kept.split()).rstrip(".").strip()


@dataclass(frozen=True, slots=True)
class CodeOutput(_TextValued):
    """The last fenced block of a language, or the whole text when nothing is fenced."""

    language: str = "python"

    @property
    def name(self) -> str:
        """`code:` and the language."""
        return f"code:{self.language}"

    def parse(self, message: Message) -> Parsed[str]:
        """Return the program; `repaired` if its block has no language or no closing fence."""
        text = visible(message.text)
        if not text.strip():
            return Parsed.unparsed("the reply has no text")
        found = blocks(text)
        if not found:
            return Parsed(text.strip("\n"))
        for wanted in (_same(self.language), ""):
            of_language = [b for b in found if _same(b.language) == wanted and b.body.strip()]
            if of_language:
                last = of_language[-1]
                exact = last.closed and wanted != ""
                return Parsed(last.body, "ok" if exact else "repaired")
        others = sorted({block.language or "empty" for block in found})
        return Parsed.unparsed(f"no ```{self.language} block found, only {clipped(', '.join(others), 60)}")


def _same(language: str) -> str:
    return _ALIASES.get(language.lower(), language.lower())


@dataclass(frozen=True, slots=True)
class ChoiceOutput(_TextValued):
    """One of several fixed strings."""

    options: tuple[str, ...]

    @property
    def name(self) -> str:
        """`choice:` and the options between bars."""
        return "choice:" + "|".join(self.options)

    def parse(self, message: Message) -> Parsed[str]:
        """Return the option that is the whole text, or else the end of its last line (then `repaired`)."""
        lines = [line for line in visible(message.text).splitlines() if line.strip()]
        by_text = {_bare(option): option for option in self.options}
        whole = by_text.get(_bare(" ".join(lines)))
        if whole is not None:
            return Parsed(whole)
        last = lines[-1] if lines else ""
        named = by_text.get(_bare(re.split("[:\uff1a]", last)[-1]))
        if named is not None:
            return Parsed(named, "repaired")
        return Parsed.unparsed(f"expected one of {clipped(', '.join(self.options), 200)} on the last line")


def _bare(text: str) -> str:
    return text.strip(" \t*_`\"'.()[]").casefold()
