"""Checks recipes, specs and prompts, and finds all problems before a run.

Knows what the files refer to, in each other and in all packages. Does not know how problems are shown.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from critic_loop.assets import AgentSpec, Library, Recipe
from critic_loop.assets.library import read
from critic_loop.assets.problems import Problem, line_of, problems_in, unreadable_toml
from critic_loop.assets.template import Template, problems_of
from critic_loop.core.errors import AssetError, ConfigError, CriticLoopError
from critic_loop.core.protocols import Move
from critic_loop.core.stop import rule_of
from critic_loop.graph.dry_run import dry_run
from critic_loop.outputs import LIKELIHOODS, critique_of, output_of
from critic_loop.roles.prompted import BLOCKS, VARIABLES
from critic_loop.search import SEARCHES, build
from critic_loop.select import require_judge, selection
from critic_loop.verifiers import verifier_named

Data = Mapping[str, Any]


def check_folder(folder: Path, library: Library) -> tuple[list[Path], list[Problem]]:
    """Return the files of a folder with `agents/` and `prompts/`, and their problems."""
    files = [
        *sorted((folder / "agents").rglob("*.toml")),
        *sorted((folder / "prompts").rglob("*.md")),
    ]
    return files, [problem for path in files for problem in check_file(path, library)]


def check_recipe(name: str, library: Library) -> tuple[list[Path], list[Problem]]:
    """Return the files that a recipe of a library consists of, and their problems.

    Raises:
        NoSuchAsset: there is no such recipe.
    """
    files = [library.find("recipe", name)]
    for path in files:  # grows while it is walked
        data = _data(path) or {}
        for kind, one in _named_files(data):
            try:
                found = library.find(kind, one)
            except AssetError:
                continue  # reported as a problem of the file that names it
            if found not in files:
                files.append(found)
    return files, [problem for path in files for problem in check_file(path, library)]


def check_file(path: Path, library: Library) -> list[Problem]:
    """Return all problems of a recipe, a spec or a prompt, and of what it refers to."""
    try:
        text = read(path)
    except AssetError as error:
        message = error.message.removeprefix(f"{path}: ")  # a problem names its file itself
        return [Problem(file=str(path), message=message, hint=error.hint)]
    if path.suffix == ".md":
        return problems_of(text, str(path))
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return [unreadable_toml(error, str(path))]
    kind, refers = (Recipe, _of_recipe) if _is_recipe(path, data) else (AgentSpec, _of_agent)
    checked = _Checked(path, text, data, library)
    checked.shape(kind)
    refers(checked)
    return sorted(checked.problems, key=lambda problem: problem.line or 0)


def _is_recipe(path: Path, data: Data) -> bool:
    return "recipes" in inside(path) or "search" in data or "role" not in data


def inside(path: Path) -> tuple[str, ...]:
    """Return the folders from the innermost `agents` or `prompts` down to a file; none if it lies in neither.

    Folders above the project may have these names, too.
    """
    folders = path.absolute().parts[:-1]
    starts = [place for place, folder in enumerate(folders) if folder in ("agents", "prompts")]
    return folders[starts[-1] :] if starts else ()


def _data(path: Path) -> Data | None:
    if path.suffix != ".toml":
        return None
    try:
        return tomllib.loads(read(path))
    except (AssetError, tomllib.TOMLDecodeError):
        return None


def _named_files(data: Data) -> Iterator[tuple[str, str]]:
    for _, _, name in _agents_in(data):
        yield "agent", name
    if isinstance(prompt := data.get("prompt"), str):
        yield "prompt", prompt


def _agents_in(data: Data) -> Iterator[tuple[tuple[str | int, ...], str, str]]:
    """Yield place, role and name of each spec that a recipe names; the actor's stands for itself."""
    if "role" in data:
        return
    yield ("actor",), "actor", str(data.get("actor", Recipe.model_fields["actor"].default))
    actors = data.get("actors")
    for name, use in actors.items() if isinstance(actors, Mapping) else ():
        agent = use.get("agent") if isinstance(use, Mapping) else use
        if isinstance(agent, str):
            yield ("actors", name), "actor", agent
    for number, use in enumerate(_list(data.get("critics"))):
        if isinstance(use, Mapping) and isinstance(use.get("agent"), str):
            yield ("critics", number, "agent"), "critic", use["agent"]
    if isinstance(judge := data.get("judge"), str):
        yield ("judge",), "judge", judge
    debate = data.get("debate")
    if isinstance(debate, Mapping) and isinstance(debate.get("agent"), str):
        yield ("debate", "agent"), "debater", debate["agent"]


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else []


class _Checked:
    """A file while it is checked, and its problems with their lines."""

    def __init__(self, path: Path, text: str, data: Data, library: Library) -> None:
        self.path, self.text, self.data, self.library = path, text, data, library
        self.problems: list[Problem] = []

    def add(self, loc: Sequence[str | int], message: str, hint: str = "") -> None:
        self.problems.append(
            Problem(
                file=str(self.path),
                line=line_of(self.text, loc),
                key=".".join(map(str, loc)),
                message=message,
                hint=hint,
            )
        )

    def shape(self, kind: type[BaseModel]) -> None:
        """Check keys and values."""
        try:
            kind.model_validate(self.data)
        except ValidationError as error:
            self.problems += problems_in(error, kind, str(self.path), self.text)

    def tries(self, loc: Sequence[str | int], find: Callable[[], Any]) -> Any:
        """Return the result of `find`; an error that it raises is a problem of the key at `loc`."""
        try:
            return find()
        except CriticLoopError as error:
            message, hint = error.message, error.hint
        except Exception as error:  # noqa: BLE001  # somebody's module, loaded by name
            message, hint = f"{type(error).__name__}: {error}", ""
        self.add(loc, f"key {'.'.join(map(str, loc))!r}: {message}", hint)
        return None


# -- recipes -----------------------------------------------------------------------------------


def _of_recipe(checked: _Checked) -> None:
    data, library = checked.data, checked.library
    for loc, role, name in _agents_in(data):
        spec = _spec(checked, loc, name)
        if spec is not None and spec.role != role:
            checked.add(loc, f"key {loc[0]!r}: {name!r} has role {spec.role!r}, not {role!r}.")
        if spec is not None and role == "actor":
            _memory(checked, spec, library)
        if spec is not None and role == "judge" and "debate" in data:
            _debated(checked, spec, library)
    for number, name in enumerate(_list(data.get("verifiers"))):
        if isinstance(name, str):
            checked.tries(("verifiers", number), partial(verifier_named, name))
    _search_and_stop(checked)
    _selection(checked)


def _spec(checked: _Checked, loc: Sequence[str | int], name: str) -> AgentSpec | None:
    """Return a named spec; None if there is none, or if it has problems, which are its own file's."""
    found = checked.tries(loc, lambda: checked.library.find("agent", name))
    if found is None:
        return None
    try:
        return checked.library.agent(name)
    except AssetError:
        checked.add(loc, f"key {'.'.join(map(str, loc))!r}: {name!r} has problems of its own: see {found}.")
        return None


def _memory(checked: _Checked, spec: AgentSpec, library: Library) -> None:
    if checked.data.get("memory") != "rejected":
        return
    try:
        template = library.prompt(spec.prompt)
    except AssetError:
        return  # reported with the spec
    if "rejected" not in template.variables:
        message = f"key 'memory' is 'rejected', but {template.where} does not declare the variable 'rejected'."
        checked.add(
            ("memory",), message, "Let the prompt list the rejected answers, as actor/anti-repeat does."
        )


def _debated(checked: _Checked, spec: AgentSpec, library: Library) -> None:
    try:
        template = library.prompt(spec.prompt)
    except AssetError:
        return  # reported with the spec
    if "debate" not in template.variables:
        message = f"key 'debate' is there, but {template.where} does not declare the variable 'debate'."
        checked.add(("debate",), message, "Let the prompt print what was argued, as judge/debate does.")


def _selection(checked: _Checked) -> None:
    select = checked.data.get("select")
    table = {"kind": select} if isinstance(select, str) else select
    if not isinstance(table, dict) or not isinstance(kind := table.get("kind"), str):
        return  # reported by `shape`
    settings = {key: value for key, value in table.items() if key != "kind"}
    checked.tries(("select",), lambda: selection(kind, settings))
    if checked.data.get("judge") is None:
        try:
            require_judge(kind)
        except ConfigError as error:
            checked.add(("select",), error.message, error.hint)


def _search_and_stop(checked: _Checked) -> None:
    data = checked.data
    uses = [data["search"]] if isinstance(data.get("search"), dict) else _list(data.get("search"))
    told = [use for use in uses if isinstance(use, dict) and isinstance(use.get("kind"), str)]
    # Each is built with a plain search after it, because modifiers need one.
    alone = [checked.tries(("search",), partial(_built, use, {"kind": "refine"})) for use in told]
    if told and len(told) == len(uses) and None not in alone:
        search = checked.tries(("search",), partial(_built, *told))
        if search is not None and all(use["kind"] in SEARCHES for use in told):  # others may need a real task
            _moves(checked, checked.tries(("search",), lambda: list(dry_run(search))) or [])
    for rule in _list(data.get("stop")):
        try:
            rule_of(rule)
        except ConfigError as error:
            if not any(problem.key.startswith("stop") for problem in checked.problems):
                checked.add(("stop",), f"key 'stop': {error.message}", error.hint)


def _moves(checked: _Checked, moves: Sequence[Move]) -> None:
    """Check that the recipe has the actors that the search asks, and that they can do it."""
    actors = {str(loc[-1]): name for loc, role, name in _agents_in(checked.data) if role == "actor"}
    for move in moves:
        if move.agent in (*actors, actors["actor"]):
            lacking = _lacking(checked.library, actors.get(move.agent, move.agent), move)
        else:
            known = ", ".join(sorted(actors))
            lacking = [(f"the search asks actor {move.agent!r}; there are {known}.", "Name it under 'actors'.")]
        for message, hint in lacking:
            if not any(problem.message.endswith(message) for problem in checked.problems):
                checked.add(("search",), f"key 'search': {message}", hint)


def _lacking(library: Library, name: str, move: Move) -> Iterator[tuple[str, str]]:
    try:
        spec = library.agent(name)
        blocks = library.prompt(spec.prompt).blocks
    except AssetError:
        return  # reported where it is named
    if move.kind == "step" and spec.steps is None:
        hint = "Set steps = { ends = 'a regular expression' } in the agent's spec."
        yield f"the search asks {name} for steps, but its spec does not say where an answer ends.", hint
    if move.shows and "also_shown" not in blocks:
        hint = "Give it one that prints the variable 'also_shown', as actor/step does."
        yield (
            f"the search shows {name} attempts beside the path, but its prompt has no block 'also_shown'.",
            hint,
        )


def _built(*uses: dict[str, Any]) -> Any:
    return build([(use["kind"], {key: value for key, value in use.items() if key != "kind"}) for use in uses])


# -- specs -------------------------------------------------------------------------------------


def _of_agent(checked: _Checked) -> None:
    data, role = checked.data, checked.data.get("role")
    if role not in BLOCKS:
        return
    folder = checked.path.parent.name
    if role != folder and inside(checked.path)[:1] == ("agents",):
        checked.add(("role",), f"key 'role' is {role!r}, but its folder says {folder!r}.")
    output = data.get("output", AgentSpec.model_fields["output"].default)
    weighing = LIKELIHOODS.get(output) if role == "critic" and isinstance(output, str) else None
    if isinstance(output, str) and weighing is None:
        checked.tries(("output",), lambda: (output_of if role in ("actor", "debater") else critique_of)(output))
    if not isinstance(prompt := data.get("prompt"), str):
        return
    path = checked.tries(("prompt",), lambda: checked.library.find("prompt", prompt))
    if path is None:
        return
    try:
        _fits(checked, role, checked.library.prompt(prompt), weighing.blocks if weighing else ())
    except AssetError:
        checked.add(("prompt",), f"key 'prompt': {prompt!r} has problems of its own: see {path}.")


def _fits(checked: _Checked, role: str, template: Template, blocks: Sequence[str]) -> None:
    needed = {BLOCKS[role]: f"role {role!r}"} | dict.fromkeys(blocks, f"output {checked.data.get('output')!r}")
    for block, who in needed.items():
        if block not in template.blocks:
            checked.add(("prompt",), f"key 'prompt': {template.where} has no block {block!r}, as {who} needs.")
    for name in sorted(template.variables - VARIABLES[role]):
        given = ", ".join(sorted(VARIABLES[role]))
        message = f"key 'prompt': {template.where} wants a variable {name!r}, which role {role!r} is not given."
        checked.add(("prompt",), message, f"It is given {given}.")
