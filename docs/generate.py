"""The generated parts of the documentation, and the pages of the site.

    python docs/generate.py              # writes the generated parts of docs/ and the pictures anew
    python docs/generate.py build/docs   # and the pages of the site into a folder

The text between the comments `<!-- generated: NAME -->` and `<!-- /generated -->` of a page is made from the
code: recipes, agents, prompts, command line, configuration, schemas, errors, Python names. It is committed, so
that a code host shows it, and a test compares it with the code. Knows what is described. Does not know how a
site is made of it (zensical.toml), nor how Python names become Markdown (`python_names`).
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import importlib
import inspect
import itertools
import json
import os
import pkgutil
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import python_names
import typer
from pydantic import BaseModel
from python_names import cell

import critic_loop
import critic_loop.errors
from critic_loop.assets import AgentSpec, Library, Recipe, SearchUse, SelectUse
from critic_loop.cli import app
from critic_loop.cli.settings import SCALARS, Settings, variable
from critic_loop.core import plugins
from critic_loop.core.errors import CriticLoopError
from critic_loop.core.records import Task
from critic_loop.core.stop import RULES as STOP_RULES
from critic_loop.export import FORMATS
from critic_loop.models.providers.specs import ModelTable
from critic_loop.search import SEARCHES
from critic_loop.select import RULES as SELECTIONS
from critic_loop.verifiers import VERIFIERS

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
ELSEWHERE = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "critic_loop/demo/weights/MODEL_CARD.md": "model-card.md",
}
"""Pages that lie outside docs/, and what they are called on the site."""
FOLDERS = ("assets", "pictures", "schemas")
"""Folders of docs/ that the site has as they are."""

_FENCED = re.compile(r"^(```.*?^```$)", re.DOTALL | re.MULTILINE)
_COMMENT = re.compile(r"<!--.*?-->\n?", re.DOTALL)
_GENERATED = re.compile(r"(?<=<!-- generated: )([a-z ]+)( -->\n).*?(?=<!-- /generated -->)", re.DOTALL)
_LINK = re.compile(r"(?<=\]\()(?!https?:|#)([^)#\s]+)(#[^)\s]*)?(?=\))")


class Unlinkable(ValueError):
    """A page links to something that is not on the site."""


# -- pages written by hand -------------------------------------------------------------------------


def sources() -> dict[str, Path]:
    """Return the pages that are written by hand: name on the site, file."""
    inside = {path.relative_to(DOCS).as_posix(): path for path in sorted(DOCS.rglob("*.md"))}
    return inside | {name: ROOT / path for path, name in ELSEWHERE.items()}


def filled(text: str) -> str:
    """Return a page's text with its generated parts made anew.

    Raises:
        ValueError: it names a part that is not generated.
    """
    return _GENERATED.sub(lambda match: f"{match[1]}{match[2]}\n{_part(match[1]).strip()}\n\n", text)


def _part(name: str) -> str:
    if name not in GENERATED:
        raise ValueError(f"nothing is generated under the name {name!r}; there are {sorted(GENERATED)}")
    return GENERATED[name]()


def generated() -> dict[Path, str]:
    """Return what every file with generated parts has to hold: pages, and the pictures of a tree."""
    pages = {path: path.read_text(encoding="utf-8") for path in sorted(DOCS.rglob("*.md"))}
    return {path: filled(text) for path, text in pages.items() if _GENERATED.search(text)} | pictures()


def refresh() -> list[Path]:
    """Write the generated parts that are stale, and return their files."""
    stale = [(p, text) for p, text in generated().items() if not p.exists() or p.read_text("utf-8") != text]
    for path, text in stale:
        path.write_text(text, encoding="utf-8")
    return [path for path, _ in stale]


def written(name: str, path: Path, known: Iterable[str]) -> str:
    """Return a page's text as the site shows it: without comments, links led to the site's own pages."""
    parts = _FENCED.split(path.read_text(encoding="utf-8"))
    parts[::2] = [_COMMENT.sub("", _relinked(part, name, path, set(known))) for part in parts[::2]]
    return "".join(parts)


def _relinked(text: str, name: str, path: Path, known: set[str]) -> str:
    def led(match: re.Match[str]) -> str:
        target = _on_site(match[1], name, path, known)
        return os.path.relpath(target, PurePosixPath(name).parent).replace(os.sep, "/") + (match[2] or "")

    return _LINK.sub(led, text)


def _on_site(link: str, name: str, path: Path, known: set[str]) -> str:
    """Return the site's name of what a link in a file leads to."""
    in_repository = Path(os.path.normpath(path.parent / link))
    here = in_repository.relative_to(ROOT).as_posix() if in_repository.is_relative_to(ROOT) else ""
    found = ELSEWHERE.get(here, here.removeprefix("docs/"))
    special = {"schemas": "reference/schemas.md", "examples": "howto/examples.md", "README.md": "index.md"}
    found = special.get(found, found)
    if in_repository.is_file() and found.startswith(tuple(f"{folder}/" for folder in FOLDERS)):
        return found
    if found not in known:
        raise Unlinkable(f"{path.relative_to(ROOT)} links to {link}, which is no page of the site ({name})")
    return found


# -- Python ----------------------------------------------------------------------------------------

GROUPS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "loop": (
        "Loops and results",
        "What runs things, and what comes back.",
        ("Loop", "Result", "Delta", "StreamEvent", "event_json", "Human", "open_store"),
    ),
    "task": (
        "Tasks and messages",
        "What goes in.",
        ("Task", "Message", "Image", "File", "system", "user", "assistant", "Sampling"),
    ),
    "tree": (
        "Trees and feedback",
        "What a loop writes, and what an attempt is worth.",
        ("Tree", "Attempt", "Feedback", "Verdict", "Value", "value_of"),
    ),
    "stop": (
        "Stop rules",
        "Rules combine: `|` stops when either does, `&` when both do. A function of `Progress` is a rule, too.",
        (
            "Verified", "Accepted", "MaxRounds", "MaxAttempts", "Plateau", "Diminishing", "Failing", "Elapsed",
            "Spent", "Progress", "StopReason",
        ),
    ),
    "parts": (
        "Parts of your own",
        "Decorators for functions, what these are shown and return, and the protocols behind them.",
        (
            "verifier", "critic", "grader", "tool", "search", "View", "Unfinished", "Move", "Wait", "Stop",
            "Pick", "Compare", "Model", "model", "Store", "Tool", "ToolContext", "ToolOutput",
        ),
    ),
    "recipe": ("Recipes as objects", "What a file under `agents/` becomes.", ("Recipe", "CriticLoopError")),
}  # fmt: skip
"""Every name of `critic_loop.__all__`, by page."""

PACKAGES = (
    "assets", "errors", "evidence", "export", "metrics", "models", "outputs", "search", "select", "store",
    "testing", "tools", "verifiers",
)  # fmt: skip
CONTRACTS = ("model_contract", "search_contract", "store_contract", "export_contract", "tool_contract")


def _identifier(name: str) -> str:
    """Return the path under which a public name is documented: `search` is a package, too."""
    return "critic_loop.search.search" if name == "search" else f"critic_loop.{name}"


def _group(page: str) -> str:
    title, text, names = GROUPS[page]
    return _api_page(title, text, (_identifier(name) for name in names))


def public_names() -> str:
    """List the names of `critic_loop.__all__`."""
    lines = ["| name | what it is |", "|---|---|"]
    for page, (_, _, names) in GROUPS.items():
        lines += [f"| [`{n}`]({page}.md#{_identifier(n)}) | {_described(n)} |" for n in names]
    return "\n".join(lines)


def _described(name: str) -> str:
    """Return the first sentence about a public name; that of a type alias stands under it."""
    thing = getattr(critic_loop, name)
    if inspect.isclass(thing) or inspect.isroutine(thing) or inspect.ismodule(thing):
        return _first(thing)
    return cell(python_names.note_on(critic_loop, name))


def packages() -> str:
    """List the packages that are documented beside the public names."""
    lines = ["| package | what it knows |", "|---|---|"]
    for package in PACKAGES:
        module = importlib.import_module(f"critic_loop.{package}")
        lines.append(f"| [`critic_loop.{package}`]({package}.md) | {_first(module)} |")
    return "\n".join(lines)


def _api_page(title: str, text: str, identifiers: Iterable[str]) -> str:
    return "\n\n".join([f"# {title}", text, *map(python_names.described, identifiers)])


def _records() -> str:
    """Describe the records that trees consist of, and the parts that are in no other page."""
    core = importlib.import_module("critic_loop.core")
    public = set(critic_loop.__all__)
    names = [f"critic_loop.core.{name}" for name in core.__all__ if name not in public]
    text = (
        "What else a tree holds, and what models, searches and stores are handed. A package of your own "
        "imports these from `critic_loop.core`, which has the records and protocols of the other pages, too. "
        "As JSON: [schemas](../schemas.md)."
    )
    return _api_page("Records and protocols", text, names)


def _package(package: str) -> str:
    name = f"critic_loop.{package}"
    module = importlib.import_module(name)
    public = {*critic_loop.__all__, *(critic_loop.errors.__all__ if package != "errors" else ())}
    documented = {_identifier(one) for one in public}
    names = [f"{name}.{one}" for one in sorted(module.__all__, key=str.lower)]
    text = python_names.docstring(inspect.getdoc(module) or "")
    here = [one for one in names if not {one, f"critic_loop.{one.rpartition('.')[2]}"} & documented]
    if package == "testing":
        here += [f"{name}.{contract}" for contract in CONTRACTS]
    page = _api_page(f"critic_loop.{package}", text, here)
    elsewhere = [one for one in names if one not in here]
    if elsewhere:
        page += (
            "\n\nSee also [all public names](index.md) and [errors](errors.md): "
            + ", ".join(f"`{one}`" for one in elsewhere)
            + "."
        )
    return page


# -- recipes, agents, prompts ----------------------------------------------------------------------


def recipes() -> str:
    """Describe every bundled recipe."""
    library = Library()
    found = library.recipes()
    lines = ["| recipe | what it does |", "|---|---|"]
    lines += [f"| [`{name}`](#{name}) | {cell(recipe.description)} |" for name, recipe in found.items()]
    for name, recipe in found.items():
        lines += ["", *_heading(2, name, name), "", recipe.description, "", *_recipe_table(recipe), ""]
        lines += ["```toml", _file(f"agents/recipes/{name}.toml"), "```"]
    return "\n".join(lines)


def _recipe_table(recipe: Recipe) -> list[str]:
    searches = " of ".join(map(_kind_and_settings, recipe.search))
    critics = "; ".join(f"{_agent(c.agent)} sees {_codes(c.sees)}, asked {c.when}" for c in recipe.critics)
    rows = {
        "after": recipe.source or "-",
        "search": searches,
        "actor": f"{_agent(recipe.actor)}, shown {_codes(recipe.show) or 'nothing'}, memory `{recipe.memory}`",
        "critics": critics or "-",
        "verifiers": _codes(recipe.verifiers) or "-",
        "judge": _agent(recipe.judge) if recipe.judge else "-",
        "debate": f"{_agent(recipe.debate.agent)}, {recipe.debate.rounds} rounds" if recipe.debate else "-",
        "selection": _kind_and_settings(recipe.selection),
        "stop": "the usual rules"
        if recipe.stop is None
        else ", or ".join(f"`{json.dumps(rule)}`" for rule in recipe.stop) or "the search's own end",
        "at once": f"{recipe.lanes} attempt{'s' if recipe.lanes > 1 else ''}",
        "cap": f"{recipe.max_calls} calls a task",
    }
    shown = (f"| {name} | {cell(value)} |" for name, value in rows.items() if value != "-")
    return ["| setting | |", "|---|---|", *shown]


def _kind_and_settings(use: SearchUse | SelectUse) -> str:
    return f"`{use.kind}`" + "".join(f", `{key} = {json.dumps(value)}`" for key, value in use.settings.items())


def _agent(name: str) -> str:
    return f"[`{name}`](agents.md#{_slug(name)})"


def agent_names() -> list[str]:
    """Return the names of all bundled agent specs."""
    folder = ROOT / "agents"
    names = (path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.toml"))
    return sorted(name for name in names if not name.startswith("recipes/"))


def agents() -> str:
    """Describe every bundled agent spec with its prompt."""
    library = Library()
    lines: list[str] = []
    for name in agent_names():
        spec = library.agent(name)
        given = spec.sampling.model_dump(exclude_defaults=True)
        rows = {
            "role": spec.role,
            "slot": f"`{spec.slot}`",
            "output": f"`{spec.output}`",
            "sampling": ", ".join(f"{k} {v}" for k, v in given.items()),
            "after": spec.source or "-",
        }
        lines += ["", *_heading(2, name, _slug(name)), "", spec.description, "", "| setting | |", "|---|---|"]
        lines += [f"| {key} | {cell(value) or '-'} |" for key, value in rows.items()]
        lines += ["", f"`prompts/{spec.prompt}`:", "", "```jinja", _file(f"prompts/{spec.prompt}"), "```"]
    return "\n".join(lines)


def names() -> str:
    """Describe what recipes may name: searches, selections, stop rules, verifiers, outputs, export formats."""
    lines: list[str] = []
    tables: tuple[tuple[str, str, str, Mapping[str, Any]], ...] = (
        ("Searches", "search = { kind = NAME, SETTING = ... }", "critic_loop.searches", SEARCHES),
        (
            "Selections",
            "select = NAME, or { kind = NAME, SETTING = ... }",
            "critic_loop.selections",
            SELECTIONS,
        ),
        ("Stop rules", "stop = [{ NAME = VALUE }, 'package.module:name', ...]", "", STOP_RULES),
        ("Verifiers", "verifiers = [NAME, ...]", "critic_loop.verifiers", _verifiers()),
        ("Export formats", "critic-loop export --to NAME", "critic_loop.exporters", dict(FORMATS)),
    )
    for title, form, group, registry in tables:
        where = f" Entry points: `{group}`." if group else ""
        lines += ["", f"## {title}", "", f"Written `{form}`.{where}", ""]
        lines += ["| name | settings | |", "|---|---|---|"]
        for name, part in sorted(registry.items()):
            lines.append(f"| `{name}` | {cell(_settings(part)) or '-'} | {_first(part)} |")
    for title, model in (("Keys of a recipe", Recipe), ("Keys of an agent spec", AgentSpec)):
        lines += ["", f"## {title}", "", *_fields(model)]
    return "\n".join(lines)


def _verifiers() -> dict[str, Any]:
    group = "critic_loop.verifiers"
    return {**VERIFIERS, **{name: plugins.find(group, name) for name in plugins.names(group)}}


def _settings(part: Any) -> str:
    if inspect.isclass(part) and dataclasses.is_dataclass(part):
        return ", ".join(
            f"`{field.name}`" + ("" if field.default is dataclasses.MISSING else f" ({field.default!r})")
            for field in dataclasses.fields(part)
            if not field.name.startswith("_")
        )
    return ""


# -- the command line ------------------------------------------------------------------------------


def commands() -> Iterator[tuple[str, Any]]:
    """Yield every command of the command line that is shown, groups before what is in them."""
    yield from _commands("critic-loop", typer.main.get_command(app))


def _commands(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        if not getattr(inner, "hidden", False):
            yield from _commands(f"{path} {name}", inner)


def cli() -> str:
    """Describe every command and option."""
    lines: list[str] = []
    for path, command in commands():
        lines += ["", *_heading(2, path, _slug(path)), "", _plain(command.help)]
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        shown = " ".join((p.metavar or p.name.upper()) for p in arguments)
        inner = " COMMAND" if getattr(command, "commands", {}) else ""
        lines += ["", "```console", f"{path} [OPTIONS]{' ' if shown else ''}{shown}{inner}", "```", ""]
        lines += _parameters(command.params)
    return "\n".join(lines)


def _parameters(params: Iterable[Any]) -> list[str]:
    rows = [_parameter(param) for param in params if not getattr(param, "hidden", False)]
    return ["| option | default | |", "|---|---|---|", *rows] if rows else []


def _parameter(param: Any) -> str:
    if param.param_type_name == "argument":
        name = f"`{(param.metavar or param.name.upper()).strip('[]')}`"
    else:
        written = ", ".join(f"`{name}`" for name in (*param.opts, *param.secondary_opts))
        metavar = f" `{param.metavar}`" if param.metavar else ""
        name = f"{written}{metavar}"
    default = param.default
    given = default is not None and default is not False and not callable(default)
    shown = f"`{getattr(default, 'value', default)}`" if given else ""
    variable_ = f" Environment: `{param.envvar}`." if getattr(param, "envvar", None) else ""
    return f"| {cell(name)} | {cell(shown)} | {cell(_plain(getattr(param, 'help', '') or ''))}{variable_} |"


def _plain(help_: str | None) -> str:
    return (help_ or "").replace("\\[", "[").strip()


def configuration() -> str:
    """Describe `critic_loop.toml` and the environment."""
    lines = ["| key | environment | default | |", "|---|---|---|---|"]
    notes = field_notes(Settings)
    for name in SCALARS:
        default = Settings.model_fields[name].get_default(call_default_factory=True)
        shown = "-" if default in (None, ()) else f"`{getattr(default, 'value', default)}`"
        lines.append(f"| `{name}` | `{variable(name)}` | {shown} | {cell(notes.get(name, ''))} |")
    return "\n".join(lines)


def task_keys() -> str:
    """Describe the keys of a task."""
    lines = ["| key | | type | default |", "|---|---|---|---|"]
    for field in python_names.fields_of(Task):
        default = f"`{field.default}`" if field.default else "required"
        lines.append(f"| `{field.name}` | {cell(field.note)} | {cell(f'`{field.type}`')} | {default} |")
    return "\n".join(lines)


def model_settings() -> str:
    """Describe a `[models.NAME]` table."""
    return "\n".join(_fields(ModelTable))


# -- schemas ---------------------------------------------------------------------------------------


def schemas() -> str:
    """Describe the published JSON Schemas: records, and what `--json` prints."""
    lines: list[str] = []
    for title, folder in (("Records", ""), ("Documents of the command line", "cli")):
        files = sorted((DOCS / "schemas" / folder).glob("*.json"))
        if not files:
            continue
        lines += ["", f"## {title}"]
        for path in files:
            lines += ["", *_schema(path, folder)]
    return "\n".join(lines)


def _schema(path: Path, folder: str) -> Iterator[str]:
    schema = json.loads(path.read_text(encoding="utf-8"))
    name = "/".join(filter(None, (folder, path.name)))
    yield from _heading(3, path.stem, _slug(name.removesuffix(".json")))
    yield ""
    if schema.get("description"):
        yield schema["description"].split("\n\n")[0].replace("\n", " ")
        yield ""
    yield f"[`{name}`](../schemas/{name})"
    properties = schema.get("properties", {})
    if properties:
        yield ""
        yield "| field | type | |"
        yield "|---|---|---|"
        for key, value in properties.items():
            always = "required" if key in schema.get("required", ()) else ""
            told = " ".join(filter(None, (value.get("description", "").replace("\n", " "), always)))
            yield f"| `{key}` | {cell(_type(value))} | {cell(told)} |"


def _type(schema: dict[str, Any]) -> str:
    """Return a schema's type in a few words."""
    if "$ref" in schema:
        return schema["$ref"].rpartition("/")[2]
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " or ".join(dict.fromkeys(_type(option) for option in schema[key]))
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return ", ".join(f"`{json.dumps(option)}`" for option in schema["enum"])
    kind = schema.get("type", "any")
    if kind == "array" and isinstance(schema.get("items"), dict):
        return f"array of {_type(schema['items'])}"
    return " or ".join(kind) if isinstance(kind, list) else kind


# -- errors ----------------------------------------------------------------------------------------


def error_classes() -> list[type[CriticLoopError]]:
    """Return every error class of the package, those of all its modules."""
    skipped = ("critic_loop.testing", "critic_loop.demo", "critic_loop.__main__")
    for module in pkgutil.walk_packages(critic_loop.__path__, "critic_loop."):
        if not module.name.startswith(skipped):
            importlib.import_module(module.name)
    found: list[type[CriticLoopError]] = [CriticLoopError]
    for kind in found:
        found.extend(one for one in kind.__subclasses__() if one.__module__.startswith("critic_loop."))
    return [kind for kind in dict.fromkeys(found) if not kind.__module__.startswith(skipped)]


def errors() -> str:
    """Describe every error code: what it means, how far it reaches, what to do."""
    by_code: dict[str, list[type[CriticLoopError]]] = {}
    for kind in error_classes():
        by_code.setdefault(kind.code, []).append(kind)
    lines = ["| code | class | scope | HTTP | |", "|---|---|---|---|---|"]
    for code, kinds in by_code.items():
        kind, link = kinds[0], f"[`{code}`](#{code})"
        lines.append(f"| {link} | `{kind.__name__}` | {kind.scope} | {kind.http_status} | {_first(kind)} |")
    for code, kinds in by_code.items():
        first, *rest = (inspect.getdoc(kinds[0]) or "").split("\n\n")
        kind = kinds[0]
        lines += ["", *_heading(2, code, code), "", f"`{kind.__name__}`, scope *{kind.scope}*.", ""]
        lines += [_prose(first), "", *(_prose(text) + "\n" for text in rest)]
        for other in kinds[1:]:
            scope = "" if other.scope == kind.scope else f" (scope *{other.scope}*)"
            lines += [f"`{other.__name__}`{scope}: {_first(other)}", ""]
    return "\n".join(lines)


# -- examples --------------------------------------------------------------------------------------


def examples() -> str:
    """Show the scripts of examples/."""
    lines: list[str] = []
    for path in sorted((ROOT / "examples").glob("*.py")):
        title = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or path.name).split("\n")[0]
        lines += ["", *_heading(2, path.stem, _slug(path.stem)), "", title, "", "```python"]
        lines += [path.read_text(encoding="utf-8").rstrip(), "```"]
    return "\n".join(lines)


# -- the picture -----------------------------------------------------------------------------------

PICTURED = ("Countdown 38: 3 4 7 9", "--recipe", "docs/pictures/countdown-beam.toml")
"""What is run for the picture of a tree, with the model of the package."""
_DARK = re.compile(r"@media \(prefers-color-scheme: dark\) \{\n(.*?)\n\}\n", re.DOTALL)


def pictures() -> dict[Path, str]:
    """Return a real tree as the command line draws it, in a light and a dark version.

    The command's own picture follows the reader's preference; pages of a code host choose by `<picture>`.
    """
    with tempfile.TemporaryDirectory() as folder:
        store, drawn = f"{folder}/trees.db", Path(folder) / "tree.svg"
        _run("run", *PICTURED, "--actor", "embedded:countdown", "--store", store)
        _run("show", store, "--svg", str(drawn))
        both = drawn.read_text(encoding="utf-8")
    light = _DARK.sub("", both).replace("color-scheme: light dark", "color-scheme: light")
    dark = _DARK.sub(r"\1\n", both).replace("color-scheme: light dark", "color-scheme: dark")
    if both == light or "@media" in light + dark:
        raise ValueError("the picture of a tree has no part for dark pages any more")
    return {DOCS / "pictures/tree-light.svg": light, DOCS / "pictures/tree-dark.svg": dark}


def _run(*arguments: str) -> None:
    """Run the command line from the root of the repository.

    Raises:
        CalledProcessError: it failed.
    """
    settings = {name: value for name, value in os.environ.items() if not name.startswith("CRITIC_LOOP_")}
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    subprocess.run(  # noqa: S603  # the arguments stand above
        [sys.executable, "-m", "critic_loop", *arguments],
        cwd=ROOT,
        env=settings | {"PYTHONPATH": paths},
        capture_output=True,
        check=True,
    )


# -- together --------------------------------------------------------------------------------------

GENERATED: dict[str, Callable[[], str]] = {
    **{f"python {page}": partial(_group, page) for page in GROUPS},
    **{f"python {package}": partial(_package, package) for package in PACKAGES},
    "python records": _records,
    "agents": agents,
    "commands": cli,
    "configuration": configuration,
    "errors": errors,
    "examples": examples,
    "model settings": model_settings,
    "names": names,
    "packages": packages,
    "public names": public_names,
    "recipes": recipes,
    "schemas": schemas,
    "task keys": task_keys,
}
"""What may stand in a page's comment `<!-- generated: NAME -->`."""


def pages() -> dict[str, str]:
    """Return all pages of the site by name."""
    found = sources()
    return {name: written(name, path, found) for name, path in found.items()}


def write(folder: Path) -> None:
    """Write all pages, the schema files and pictures that they link to, and their style."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, text in pages().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.rstrip() + "\n", encoding="utf-8")
    for name in FOLDERS:
        shutil.copytree(DOCS / name, folder / name)


# -- small things ----------------------------------------------------------------------------------


def field_notes(model: type[BaseModel]) -> dict[str, str]:
    """Return the strings that stand under a model's fields, its bases' included."""
    notes: dict[str, str] = {}
    for kind in reversed(model.__mro__):
        if not (issubclass(kind, BaseModel) and kind.__module__.startswith("critic_loop")):
            continue
        body = ast.parse(inspect.getsource(kind)).body[0]
        statements = body.body if isinstance(body, ast.ClassDef) else []
        for field, note in itertools.pairwise(statements):
            match field, note:
                case ast.AnnAssign(), ast.Expr(value=ast.Constant(value=str(text))):
                    notes[ast.unparse(field.target)] = inspect.cleandoc(text)
                case _:
                    pass
    return notes


def _fields(model: type[BaseModel]) -> list[str]:
    notes = field_notes(model)
    lines = ["| key | default | |", "|---|---|---|"]
    for name, field in model.model_fields.items():
        default = field.get_default(call_default_factory=True)
        data = default.model_dump(exclude_defaults=True) if isinstance(default, BaseModel) else default
        shown = "required" if field.is_required() else "-" if data in (None, "", (), {}) else f"`{data!r}`"
        lines.append(f"| `{name}` | {cell(shown)} | {cell(notes.get(name, ''))} |")
    return lines


def _first(thing: Any) -> str:
    """Return the first sentence of a docstring."""
    return cell(_prose((inspect.getdoc(thing) or "").split("\n\n")[0]))


def _prose(text: str) -> str:
    return " ".join(text.split()) if "\n\n" not in text else text


def _codes(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _heading(level: int, title: str, anchor: str) -> list[str]:
    """Return a heading and, where code hosts and the site would make another anchor of it, its anchor."""
    own = re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
    return [*([] if own == anchor else [f'<a id="{anchor}"></a>', ""]), f"{'#' * level} {title}"]


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _file(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8").rstrip()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description="Write the generated pages into docs/, and a copy of all pages."
    )
    parser.add_argument("copy", nargs="?", type=Path, help="the folder of the copy that the site is built from")
    options = parser.parse_args()
    for changed in refresh():
        sys.stdout.write(f"{changed.relative_to(ROOT)} was stale\n")
    if options.copy:
        write(options.copy)
