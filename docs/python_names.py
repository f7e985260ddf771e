"""Public Python names as Markdown: signatures, fields and docstrings, read from the source.

The same text stands on a code host and on the site. Knows Python source and Google docstrings. Does not know
which names there are (`generate`).
"""

from __future__ import annotations

import ast
import html
import importlib
import inspect
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

from typing_extensions import TypeIs

Function = ast.FunctionDef | ast.AsyncFunctionDef

_WIDTH = 100
_SECTION = re.compile(r"^(Args|Returns|Yields|Raises|Attributes|Source):\s*(.*)$")
_INDENTED = re.compile(r"^ {4}.*(?:\n+ {4}.*)*", re.MULTILINE)
_ENTRY = re.compile(r"^(\*{0,2}\w[\w.]*|[\w.]+(?:, [\w.]+)*): (.*)$")


@dataclass(frozen=True)
class Field:
    """A field of a class, as its source has it."""

    name: str
    type: str
    default: str
    note: str


def described(identifier: str) -> str:
    """Return a name as Markdown, its anchor the identifier.

    Args:
        identifier: a dotted path under `critic_loop`, as users import it.
    """
    module, _, name = identifier.rpartition(".")
    home = importlib.import_module(module)
    thing = getattr(home, name) if hasattr(home, name) else importlib.import_module(identifier)
    lines = [f'<a id="{identifier}"></a>', "", f"## {name}", ""]
    if inspect.isclass(thing):
        lines += _class(thing, name, identifier)
    elif inspect.isroutine(thing):
        lines += [*_code(_signatures(thing, name)), "", docstring(inspect.getdoc(thing) or "")]
    elif isinstance(thing, ModuleType):
        lines += _module(thing)
    else:
        lines += _value(home, name)
    return "\n".join(lines)


def note_on(module: ModuleType, name: str) -> str:
    """Return the string under the assignment of a module's name, there or where it is imported from."""
    found = _assigned(module, name)
    return found[1] if found else ""


def _module(module: ModuleType) -> Iterator[str]:
    """Yield what a module says of itself and of its public classes."""
    yield docstring(inspect.getdoc(module) or "")
    for node in ast.parse(_text(module)).body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            text = docstring(ast.get_docstring(node) or "").replace("\n", "\n  ")
            yield from ("", f"- `{node.name}`: {text}")


# -- classes ---------------------------------------------------------------------------------------


def _class(kind: type, name: str, identifier: str) -> Iterator[str]:
    node = _source_of(kind)
    made = next((m for m in node.body if _is_function(m, "__init__")), None)
    yield from _code([_signature(f"class {name}", made.args, None, skip=1) if made else f"class {name}"])
    yield ""
    yield docstring(_own_doc(kind))
    fields = list(fields_of(kind))
    if fields:
        yield from ("", "| field | type | default | |", "|---|---|---|---|")
        for field in fields:
            shown = f"`{field.default}`" if field.default else "required"
            yield f"| `{field.name}` | {cell(f'`{field.type}`')} | {cell(shown)} | {cell(field.note)} |"
    if made and (text := ast.get_docstring(made)) and "\n" in text:
        yield from ("", docstring(text))
    for method in _methods(kind):
        yield from ("", *_method(method, identifier))


def _own_doc(kind: type) -> str:
    """Return a class's docstring; dataclasses without one have their signature instead, which is none."""
    text = kind.__dict__.get("__doc__") or ""
    return "" if text.startswith(f"{kind.__name__}(") else inspect.cleandoc(text)


def _method(node: Function, identifier: str) -> Iterator[str]:
    yield f'<a id="{identifier}.{node.name}"></a>'
    yield ""
    if _decorated(node, "property", "cached_property"):
        result = f": `{ast.unparse(node.returns)}`" if node.returns else ""
        yield f"**`{node.name}`**{result}"
    else:
        skip = 0 if _decorated(node, "staticmethod") else 1
        word = "async " if isinstance(node, ast.AsyncFunctionDef) else ""
        yield from _code([_signature(f"{word}{node.name}", node.args, node.returns, skip=skip)])
    yield ""
    yield docstring(ast.get_docstring(node) or "")


def _methods(kind: type) -> Iterator[Function]:
    """Yield public methods and properties, those of bases in this package included; with a docstring alone."""
    seen: set[str] = set()
    for base in kind.__mro__:
        if not base.__module__.startswith("critic_loop"):
            continue
        for node in _source_of(base).body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or node.name in seen:
                continue
            if not node.name.startswith("_") and ast.get_docstring(node) and not _decorated(node, "overload"):
                seen.add(node.name)
                yield node


def fields_of(kind: type) -> Iterator[Field]:
    """Yield the annotated public fields of a class, those of its bases in this package first."""
    found: dict[str, Field] = {}
    for base in reversed(kind.__mro__):
        if not base.__module__.startswith("critic_loop"):
            continue
        body = _source_of(base).body
        for node, after in itertools.zip_longest(body, body[1:]):
            if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
                continue
            name = node.target.id
            if not name.startswith("_") and "ClassVar" not in (annotation := ast.unparse(node.annotation)):
                found[name] = Field(name, annotation, _default(node.value), _string(after))
    yield from found.values()


def _default(value: ast.expr | None) -> str:
    """Return a field's default as source; empty where it has to be given."""
    if not isinstance(value, ast.Call) or not ast.unparse(value.func).lower().endswith("field"):
        return "" if value is None else ast.unparse(value)
    named = {keyword.arg: keyword.value for keyword in value.keywords}
    if "default" in named:
        return ast.unparse(named["default"])
    if "default_factory" in named:
        return f"{ast.unparse(named['default_factory'])}()"
    return ast.unparse(value.args[0]) if value.args and ast.unparse(value.args[0]) != "..." else ""


# -- functions and values --------------------------------------------------------------------------


def _signatures(thing: Any, name: str) -> list[str]:
    """Return how a function may be called: its overloads, else itself."""
    module = ast.parse(_text(inspect.getmodule(thing)))
    nodes = [node for node in ast.walk(module) if _is_function(node, thing.__name__)]
    chosen = [node for node in nodes if _decorated(node, "overload")] or nodes[:1]
    words = ("async " if isinstance(node, ast.AsyncFunctionDef) else "" for node in chosen)
    return [
        _signature(f"{word}{name}", node.args, node.returns, skip=0)
        for word, node in zip(words, chosen, strict=True)
    ]


def _signature(head: str, arguments: ast.arguments, returns: ast.expr | None, *, skip: int) -> str:
    """Return a signature, a parameter a line where it is long.

    Args:
        head: what stands before the parenthesis.
        arguments: the parameters.
        returns: the annotation of the result.
        skip: how many parameters are left out at the front (`self`).
    """
    parts = list(_parameters(arguments))[skip:]
    end = f" -> {ast.unparse(returns)}" if returns else ""
    short = f"{head}({', '.join(parts)}){end}"
    if len(short) <= _WIDTH:
        return short
    return "\n".join([f"{head}(", *(f"    {part}," for part in parts), f"){end}"])


def _parameters(arguments: ast.arguments) -> Iterator[str]:
    plain = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [None] * (len(plain) - len(arguments.defaults))
    for index, (one, default) in enumerate(zip(plain, defaults + arguments.defaults, strict=True)):
        yield _parameter(one, default)
        if arguments.posonlyargs and index == len(arguments.posonlyargs) - 1:
            yield "/"
    if arguments.vararg:
        yield f"*{_parameter(arguments.vararg, None)}"
    elif arguments.kwonlyargs:
        yield "*"
    for one, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        yield _parameter(one, default)
    if arguments.kwarg:
        yield f"**{_parameter(arguments.kwarg, None)}"


def _parameter(one: ast.arg, default: ast.expr | None) -> str:
    annotation = f": {ast.unparse(one.annotation)}" if one.annotation else ""
    equals = " = " if annotation else "="
    return f"{one.arg}{annotation}" + (f"{equals}{ast.unparse(default)}" if default else "")


def _value(home: ModuleType, name: str) -> Iterator[str]:
    found = _assigned(home, name)
    if found is None:
        raise ValueError(f"{home.__name__}.{name} is assigned nowhere")
    yield from _code([found[0]])
    yield ""
    yield docstring(found[1])


def _assigned(module: ModuleType, name: str) -> tuple[str, str] | None:
    """Return what gives a module's name its value, and what is said of it; follows imports.

    That is an assignment with the string under it, or a function that a decorator makes something else of.
    """
    body = ast.parse(_text(module)).body
    for node, after in itertools.zip_longest(body, body[1:]):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
            return _signature(name, node.args, node.returns, skip=0), ast.get_docstring(node) or ""
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            source = ast.get_source_segment(_text(module), node) or ""
            return source, _string(after)
    for node in ast.walk(ast.parse(_text(module))):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return _assigned(importlib.import_module(node.module), alias.name)
    return None


# -- docstrings ------------------------------------------------------------------------------------


def docstring(text: str) -> str:
    """Return a Google docstring as Markdown: its sections become lists, indented code becomes a block."""
    lines: list[str] = []
    section = ""
    for line in text.splitlines():
        if match := _SECTION.match(line):
            section = match[1]
            lines += [f"*{section}*" + (f": {match[2]}" if match[2] else ""), *([] if match[2] else [""])]
        elif section and line.startswith("    "):
            lines.append(_entry(line.removeprefix("    "), section))
        else:
            section = section if not line.strip() else ""
            lines.append(line)
    return re.sub(r"\n{3,}", "\n\n", _fenced(lines))


def _entry(line: str, section: str) -> str:
    """Return a line of a section: a list item where it begins one."""
    if line.startswith("    "):
        return f"  {line.strip()}"
    match = _ENTRY.match(line)
    if match and section in ("Args", "Raises", "Attributes"):
        return f"- `{match[1]}`: {match[2]}"
    return line


def _fenced(lines: Sequence[str]) -> str:
    """Return lines with indented code between fences; a blank line within code belongs to it."""
    text = "\n".join(lines).strip()
    return _INDENTED.sub(lambda found: f"```\n{inspect.cleandoc(found[0])}\n```", text)


# -- source ----------------------------------------------------------------------------------------


@cache
def _text(module: ModuleType | None) -> str:
    return inspect.getsource(module) if module else ""


@cache
def _source_of(kind: type) -> ast.ClassDef:
    """Return a class's source; public classes stand at the top of their modules."""
    name = kind.__qualname__.partition("[")[0]
    nodes = ast.walk(ast.parse(_text(inspect.getmodule(kind))))
    return next(node for node in nodes if isinstance(node, ast.ClassDef) and node.name == name)


def _is_function(node: ast.AST, name: str) -> TypeIs[Function]:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name


def _decorated(node: ast.AST, *names: str) -> bool:
    return any(ast.unparse(one).rpartition(".")[2] in names for one in getattr(node, "decorator_list", ()))


def _string(node: ast.stmt | None) -> str:
    match node:
        case ast.Expr(value=ast.Constant(value=str(text))):
            return inspect.cleandoc(text)
        case _:
            return ""


def _code(pieces: Sequence[str]) -> list[str]:
    return ["```python", *pieces, "```"]


def cell(text: str) -> str:
    """Return a text as a table's cell.

    A bar within code would end the cell on code hosts, and its escape would be shown on the site: it is an
    entity within `<code>` instead.
    """
    parts = " ".join(text.split()).split("`")
    code = (f"`{part}`" if "|" not in part else _coded(part) for part in parts[1::2])
    prose = (part.replace("|", "\\|") for part in parts[::2])
    return "".join(piece for pair in itertools.zip_longest(prose, code, fillvalue="") for piece in pair)


def _coded(text: str) -> str:
    return f"<code>{html.escape(text, quote=False).replace('|', '&#124;')}</code>"
