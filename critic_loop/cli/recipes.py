"""`critic-loop recipes`: list recipes, show one, and check them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from critic_loop.assets import CriticUse, DebateUse, Library, Recipe, SearchUse, SelectUse, bundled
from critic_loop.cli.documents.recipes import CheckDocument, ProblemRow, RecipeRow, RecipesDocument
from critic_loop.cli.terminal import FAILURE, Terminal, UsageProblem
from critic_loop.core.errors import AssetError
from critic_loop.core.printable import count, printable

if TYPE_CHECKING:
    from critic_loop.assets.problems import Problem


def list_all(assets: Sequence[Path], terminal: Terminal, *, as_json: bool) -> None:
    """List all recipes."""
    library = Library(assets)
    found: list[Recipe] = []
    rows: list[RecipeRow] = []
    for name in library.names("recipe"):
        try:
            recipe = library.recipe(name)
            rows += [row(library, recipe)] if as_json else []
            found.append(recipe)
        except AssetError as error:
            terminal.note(f"recipe {name!r} is left out: {error.message}", style="yellow")
    if as_json:
        terminal.document(RecipesDocument(recipes=rows))
    else:
        terminal.out.print(_table(found))
        terminal.note("critic-loop recipes show NAME shows one.")


def show(name: str, assets: Sequence[Path], terminal: Terminal, *, as_json: bool) -> None:
    """Show one recipe."""
    library = Library(assets)
    recipe = library.recipe(name)
    if as_json:
        terminal.document(RecipesDocument(recipes=[row(library, recipe)]))
    else:
        terminal.out.print(_page(library, recipe))


def check(what: str | None, project: Path, assets: Sequence[Path], terminal: Terminal, *, as_json: bool) -> int:
    """Check a recipe, a file, or all files of a folder; return the exit code."""
    files, problems = _checked(what, project, assets)
    if as_json:
        rows = [
            ProblemRow(file=p.file, line=p.line, key=p.key, message=p.message, hint=p.hint) for p in problems
        ]
        terminal.document(CheckDocument(files=[str(path) for path in files], problems=rows))
    else:
        for problem in problems:
            terminal.out.print(Text(printable(str(problem))), soft_wrap=True)
        terminal.note(f"{count(len(files), 'file')} checked, {count(len(problems), 'problem')}.")
    return FAILURE if problems else 0


def _checked(what: str | None, project: Path, assets: Sequence[Path]) -> tuple[list[Path], list[Problem]]:
    from critic_loop.graph.check import check_file, check_folder, check_recipe

    if what is None:
        folders = list(assets) or ([project] if _holds_assets(project) else [bundled()])
        each = [check_folder(folder, Library([folder, *assets])) for folder in folders]
        return [path for files, _ in each for path in files], [p for _, problems in each for p in problems]
    path = Path(what)
    if path.is_dir():
        if not _holds_assets(path):
            raise UsageProblem(f"{path}: the folder has neither agents/ nor prompts/.", hint="Name another.")
        return check_folder(path, Library([path, *assets]))
    if path.is_file():
        return [path], check_file(path, Library([*_root_of(path), *assets]))
    if path.suffix in (".toml", ".md"):
        raise UsageProblem(f"{path}: no such file.", hint="Name a file, a folder, or a recipe.")
    return check_recipe(what, Library([*([project] if _holds_assets(project) else []), *assets]))


def _holds_assets(folder: Path) -> bool:
    return (folder / "agents").is_dir() or (folder / "prompts").is_dir()


def _root_of(path: Path) -> list[Path]:
    """Return the folder of assets that a file lies in, if it lies in one."""
    inside = [folder for folder in path.absolute().parents if folder.name in ("agents", "prompts")]
    return [inside[0].parent] if inside else []


def row(library: Library, recipe: Recipe) -> RecipeRow:
    """Return a recipe for a document, with the specs of the agents that it names."""
    data = recipe.model_dump(mode="json", exclude={"search", "select"})
    chosen = recipe.selection
    search = [{"kind": use.kind, **use.settings} for use in recipe.search]
    agents = {name: library.agent(name) for name in agents_of(recipe)}
    select = {"select": chosen.kind, "select_settings": chosen.settings}
    return RecipeRow.model_validate({**data, "search": search, "agents": agents, **select})


def agents_of(recipe: Recipe) -> list[str]:
    """Return the names of the specs that a recipe uses, without repetition."""
    players = (*recipe.actors.values(), *recipe.critics)
    names = [recipe.actor, *(use.agent for use in players), *([recipe.judge] if recipe.judge else [])]
    names += [recipe.debate.agent] if recipe.debate else []
    return list(dict.fromkeys(names))


def _table(found: Sequence[Recipe]) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="bold")
    table.add_column()
    for recipe in found:
        searches = ", each: ".join(searching(use) for use in recipe.search)
        text = Text.assemble(
            printable(recipe.description), (printable(f"\n{searches}; {', '.join(roles(recipe))}"), "cyan")
        )
        if recipe.source:
            text.append(printable(f"\n{recipe.source}"), style="dim")
        table.add_row(Text(printable(recipe.name)), text)
    return table


def roles(recipe: Recipe) -> list[str]:
    """Return the roles of a recipe."""
    present = {
        "actor": True,
        "verifier": bool(recipe.verifiers),
        "critic": bool(recipe.critics),
        "judge": bool(recipe.judge),
        "debater": bool(recipe.debate),
    }
    return [role for role, there in present.items() if there]


def searching(use: SearchUse | SelectUse) -> str:
    """Return a search as `sample n=4`, or a selection."""
    return " ".join([use.kind, *(f"{key}={value}" for key, value in use.settings.items())])


def _page(library: Library, recipe: Recipe) -> RenderableType:
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in _facts(library, recipe):
        if value:
            facts.add_row(name, Text(printable(value)))
    title = Text(printable(recipe.name), style="bold")
    return Group(title, Text(printable(recipe.description)), Text(), facts)


def _asked(use: CriticUse) -> str:
    """Return what a critic sees, when it is asked, and what its feedback may do."""
    said = [f"sees {', '.join(use.sees)}", use.when]
    if use.slot is not None:
        said.append(f"slot {use.slot}")
    if use.shadow:
        said.append("a shadow: advisory")
    if use.escalate is not None:
        said.append(f"slot {use.escalate.slot} where it is less sure than {use.escalate.below:g}")
    return "; ".join(said)


def _facts(library: Library, recipe: Recipe) -> list[tuple[str, str]]:
    critics = [_agent(library, use.agent, _asked(use)) for use in recipe.critics]
    return [
        ("after", recipe.source),
        ("search", ", each of these: ".join(searching(use) for use in recipe.search)),
        (
            "actor",
            _agent(
                library, recipe.actor, f"shown {', '.join(recipe.show) or 'nothing'}; memory {recipe.memory}"
            ),
        ),
        *(
            (f"actor {name}", _agent(library, use.agent, f"slot {use.slot or 'its own'}"))
            for name, use in recipe.actors.items()
        ),
        ("verifiers", ", ".join(recipe.verifiers)),
        *(("critic", critic) for critic in critics),
        ("judge", _agent(library, recipe.judge, "both orders") if recipe.judge else ""),
        ("debater", _debater(library, recipe.debate) if recipe.debate else ""),
        ("select", searching(recipe.selection)),
        ("stop", _stop(recipe)),
        ("lanes", str(recipe.lanes)),
        ("cap", f"{recipe.max_calls} calls a task"),
    ]


def _debater(library: Library, use: DebateUse) -> str:
    return _agent(library, use.agent, f"{use.rounds} rounds; slot {use.slot or 'its own'}")


def _agent(library: Library, name: str, manner: str) -> str:
    spec = library.agent(name)
    return f"{name}: {spec.description} (slot {spec.slot}, prompt {spec.prompt}; {manner})"


def _stop(recipe: Recipe) -> str:
    if recipe.stop is None:
        return "the usual rules"
    rules = [
        rule if isinstance(rule, str) else ", ".join(_rule(name, setting) for name, setting in rule.items())
        for rule in recipe.stop
    ]
    return " | ".join(rules) or "when the search ends"


def _rule(name: str, setting: Any) -> str:
    if setting is True:
        return name
    if isinstance(setting, dict):
        return f"{name} " + " ".join(f"{key}={value}" for key, value in setting.items())
    return f"{name} {setting}"
