"""Prompt templates: Jinja2 files that put all data inside fences, so that a model can tell data from prompt.

A prompt file has TOML front matter between `+++` lines, which declares its variables, and Jinja2 blocks, each
named after the message that it renders (`system`, `user`, `feedback`). All declared variables must be used, and
all used ones declared. A string is printed inside a fence:

    <data 9f2c0a44b1d0e7a3 answer>
    ... the text, unchanged ...
    </data 9f2c0a44b1d0e7a3>

The boundary is a hash of the text, keyed by the tree's secret: the author of a text cannot know it, so no text
can close its own fence. It is the same on replay, so prefix caches work. Only a `Word` is printed without a
fence: text of the loop itself (a verdict, an author's name, the JSON Schema of an output).
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from critic_loop.assets.problems import Problem, line_of, unreadable_toml
from critic_loop.core.errors import AssetError
from critic_loop.core.records import digest_of

if TYPE_CHECKING:
    import jinja2
    import jinja2.nodes

_FRONT = re.compile(r"\A\+\+\+\n(.*?)\n\+\+\+\n(.*)\Z", re.DOTALL)
_WORD = re.compile(r"[\w.:/+-]{0,80}")


class Word(str):
    """Text of the loop itself, printed without a fence.

    Use it only for text that no model, task or user wrote, such as a verdict or the JSON Schema of an output.
    For a name that a user chose, call `word`, which checks it.
    """

    __slots__ = ()


def word(text: str) -> str:
    """Return `text` as a `Word` if it is a name (up to 80 letters, digits and `_.:/+-`), else unchanged."""
    return Word(text) if _WORD.fullmatch(text) else text


@dataclass(frozen=True, slots=True)
class Data:
    """Text from outside, with the name that its fence shows."""

    name: str
    text: str


def fence(data: Data, key: str) -> str:
    """Return `data` in a fence whose boundary its author cannot know.

    Args:
        data: the text and its name.
        key: the tree's secret key, at most 64 bytes.
    """
    boundary = hashlib.blake2b(data.text.encode(), key=key.encode(), digest_size=8).hexdigest()
    return f"<data {boundary} {data.name}>\n{data.text}\n</data {boundary}>"


@dataclass(frozen=True, slots=True, repr=False)
class _Fenced:
    """Text in a template's context: printed, alone or in a list, with its fence."""

    data: Data
    key: str

    def __repr__(self) -> str:
        return fence(self.data, self.key)

    def __bool__(self) -> bool:
        return bool(self.data.text)


@cache
def _environment() -> jinja2.Environment:
    import jinja2

    return jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701  # prompts are not HTML; data is fenced instead
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _wrap(value: Any, name: str, key: str) -> Any:
    """Return `value` with every string in it fenced; the fence is named after the nearest key, or `name`.

    Raises:
        TypeError: it has a value of another type, which might print text without a fence.
    """
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Data):
        return _Fenced(value, key)
    if isinstance(value, Word):
        return value
    if isinstance(value, str):
        return _Fenced(Data(name, value), key)
    if isinstance(value, Mapping):
        return {k: _wrap(v, str(k), key) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_wrap(v, name, key) for v in value]
    raise TypeError(
        f"variable {name!r} is a {type(value).__name__}; text, numbers, lists and mappings are expected"
    )


@dataclass(frozen=True)
class Template:
    """A prompt file, parsed and checked."""

    name: str
    text: str
    variables: frozenset[str]
    where: str

    @classmethod
    def parse(cls, name: str, source: str, where: str) -> Template:
        """Return the template in `source`.

        Raises:
            AssetError: the first problem that `problems_of` returns.
        """
        return _parsed(name, source, where)

    @property
    def _compiled(self) -> jinja2.Template:
        return _compiled(self.text)

    @property
    def blocks(self) -> frozenset[str]:
        """The names of the blocks."""
        return frozenset(self._compiled.blocks)

    @cached_property
    def digest(self) -> str:
        """Hash of the body, without the front matter."""
        return digest_of(self.text)

    def render(self, block: str, values: Mapping[str, Any], key: str) -> str:
        """Return the text of a block.

        Args:
            block: the block's name.
            values: a value for each variable; strings in them are fenced.
            key: the tree's secret key.

        Raises:
            AssetError: there is no such block, a variable is missing, or rendering fails on these values.
        """
        import jinja2

        if missing := self.variables - set(values):
            raise AssetError(f"{self.where}: variable {min(missing)!r} has no value.")
        if block not in self.blocks:
            raise AssetError(
                f"{self.where}: there is no block {block!r}; there are {', '.join(sorted(self.blocks))}."
            )
        try:
            wrapped = {name: _wrap(values[name], name, key) for name in self.variables}
            context = self._compiled.new_context(wrapped)
            return "".join(self._compiled.blocks[block](context)).strip()
        except (jinja2.TemplateError, ValueError, TypeError) as error:
            raise AssetError(f"{self.where}, block {block!r}: {error}.") from error


@lru_cache(maxsize=256)
def _parsed(name: str, source: str, where: str) -> Template:
    found = problems_of(source, where)
    if found:
        raise found[0].error
    front, body = _split(source)
    return Template(name=name, text=body, variables=frozenset(tomllib.loads(front)["variables"]), where=where)


@lru_cache(maxsize=256)
def _compiled(body: str) -> jinja2.Template:
    """Return the body of a prompt, compiled once for all loops of this process."""
    return _environment().from_string(body)


# -- checking ----------------------------------------------------------------------------------


def problems_of(source: str, where: str) -> list[Problem]:
    """Return all problems in the text of a prompt file: front matter, syntax, blocks and variables.

    Args:
        source: the text.
        where: the file's name in messages.
    """
    import jinja2

    if _FRONT.match(source) is None:
        message = "no front matter: expected `variables = [...]` between two lines '+++' at the top."
        return [Problem(file=where, line=1, message=message)]
    front, body = _split(source)
    variables, found = _declared(front, where)
    before = front.count("\n") + 3
    try:
        parsed = _environment().parse(body)
        blocks = frozenset(_compiled(body).blocks)
    except jinja2.TemplateSyntaxError as error:
        return [*found, Problem(file=where, line=before + error.lineno, message=f"{error.message}.")]
    if variables is not None:
        found += _undeclared(parsed, variables, where, before)
    if not blocks:
        example = "no blocks: expected some such as {% block user %}...{% endblock %}."
        found.append(Problem(file=where, line=before + 1, message=example))
    return found


def _split(source: str) -> tuple[str, str]:
    match = _FRONT.match(source)
    return (match[1], match[2]) if match else ("", source)


def _declared(front: str, where: str) -> tuple[list[str] | None, list[Problem]]:
    """Return the declared variables (None if they cannot be read), and the problems in the front matter."""
    try:
        data = tomllib.loads(front)
    except tomllib.TOMLDecodeError as error:
        wrong = unreadable_toml(error, where)
        line = None if wrong.line is None else wrong.line + 1
        return None, [Problem(file=where, line=line, message=f"front matter is {wrong.message}")]
    found: list[Problem] = []
    variables = data.get("variables")
    if not isinstance(variables, list) or not all(isinstance(v, str) for v in variables):
        message = "key 'variables' must be a list of names."
        found.append(Problem(file=where, line=_line(front, "variables"), key="variables", message=message))
        variables = None
    for key in sorted(set(data) - {"variables", "description"}):
        message = f"unknown key {key!r}; valid keys are 'variables' and 'description'."
        found.append(Problem(file=where, line=_line(front, key), key=key, message=message))
    return variables, found


def _line(front: str, key: str) -> int:
    return (line_of(front, [key]) or 0) + 1


def _undeclared(parsed: jinja2.nodes.Template, variables: list[str], where: str, before: int) -> list[Problem]:
    import jinja2.meta
    import jinja2.nodes

    used = jinja2.meta.find_undeclared_variables(parsed)
    first: dict[str, int] = {}
    for name in parsed.find_all(jinja2.nodes.Name):
        first.setdefault(name.name, name.lineno)
    missing = [
        Problem(
            file=where, line=before + first.get(name, 1), key="variables",
            message=f"variable {name!r} is used, but not declared in 'variables'.",
        )
        for name in sorted(used - set(variables))
    ]  # fmt: skip
    spare = [
        Problem(
            file=where, line=2, key="variables",
            message=f"variable {name!r} is declared in 'variables', but never used.",
        )
        for name in sorted(set(variables) - used)
    ]  # fmt: skip
    return [*missing, *spare]
