"""What is generated is complete, and what is written by hand leads somewhere."""

from __future__ import annotations

import importlib.util
import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

import critic_loop
from critic_loop.assets import Library
from critic_loop.core.errors import CriticLoopError
from tests.docs.pages import ROOT


def script(name: str) -> ModuleType:
    """Load a script of docs/, which is no package."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


generate, check = script("generate"), script("check")


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return generate.pages()


def anchors(page: str) -> list[str]:
    """Return the anchors that a page sets itself."""
    return re.findall(r"^#+ .*\{ #(\S+) \}$", page, re.MULTILINE)


def test_every_public_name_is_on_one_page(pages: dict[str, str]) -> None:
    documented = [
        name
        for page, text in pages.items()
        if page.startswith("reference/api/")
        for name in re.findall(r"^::: (\S+)$", text, re.MULTILINE)
    ]
    assert len(documented) == len(set(documented))
    assert {f"critic_loop.{name}" for name in critic_loop.__all__} <= {*documented, "critic_loop.search"}
    assert "critic_loop.search.search" in documented
    for name in critic_loop.__all__:
        assert f"[`{name}`](" in pages["reference/api/index.md"]


def test_every_error_code_has_an_anchor_and_says_what_to_do(pages: dict[str, str]) -> None:
    kinds = generate.error_classes()
    page = pages["reference/errors.md"]
    assert len(kinds) >= 19
    assert set(anchors(page)) == {kind.code for kind in kinds}
    for kind in kinds:
        assert f"`{kind.__name__}`" in page
        assert kind("x").docs == f"reference/errors.html#{kind.code}"
    for kind in {kind.code: kind for kind in reversed(kinds)}.values():
        assert "\n\n" in (kind.__doc__ or ""), f"{kind.__name__} does not say what to do"


def test_an_error_names_its_place() -> None:
    assert CriticLoopError("x").docs == "reference/errors.html#error"


def test_every_bundled_recipe_has_an_entry(pages: dict[str, str]) -> None:
    assert anchors(pages["reference/recipes.md"]) == list(Library().recipes())


def test_every_bundled_agent_and_prompt_has_an_entry(pages: dict[str, str]) -> None:
    page = pages["reference/agents.md"]
    specs = {path for path in (ROOT / "agents").rglob("*.toml") if path.parent.name != "recipes"}
    assert len(anchors(page)) == len(specs)
    used = {Library().agent(name).prompt for name in generate.agent_names()}
    assert used == {path.relative_to(ROOT / "prompts").as_posix() for path in (ROOT / "prompts").rglob("*.md")}
    assert all(f"`prompts/{prompt}`" in page for prompt in used)


def test_every_command_and_option_is_listed(pages: dict[str, str]) -> None:
    page = pages["reference/cli.md"]
    commands = dict(generate.commands())
    assert {"critic-loop", "critic-loop run", "critic-loop export"} <= set(commands)
    for path, command in commands.items():
        section = page.split(f"## {path} {{", 1)[1].split("\n## ", 1)[0]
        for parameter in command.params:
            if parameter.param_type_name == "option" and not parameter.hidden:
                assert all(f"`{name}`" in section for name in parameter.opts), (path, parameter.opts)


def test_every_schema_is_described(pages: dict[str, str]) -> None:
    files = list((ROOT / "docs/schemas").rglob("*.json"))
    assert len(files) >= 11
    for path in files:
        assert (
            f"../schemas/{path.relative_to(ROOT / 'docs/schemas').as_posix()}" in pages["reference/schemas.md"]
        )


def test_every_setting_is_described(pages: dict[str, str]) -> None:
    for name in (*generate.SCALARS, *generate.ModelTable.model_fields):
        assert f"| `{name}` |" in pages["reference/configuration.md"]


def test_every_page_is_in_the_navigation_once(pages: dict[str, str]) -> None:
    def named(entry: object) -> list[str]:
        match entry:
            case str():
                return [entry]
            case list():
                return [name for one in entry for name in named(one)]
            case dict():
                return [name for one in entry.values() for name in named(one)]
            case _:
                raise TypeError(entry)

    project = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]
    assert sorted(named(project["nav"])) == sorted(pages)


def test_no_comment_is_left(pages: dict[str, str]) -> None:
    for name, text in pages.items():
        assert "<!--" not in re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE), name


def test_a_link_to_nowhere_is_refused(tmp_path: Path) -> None:
    page = ROOT / "docs/index.md"
    with pytest.raises(ValueError, match="no page of the site"):
        generate._relinked("[x](nowhere.md)", "index.md", page, {"index.md"})


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing is generated"):
        generate._GENERATED.sub(generate._generate, "<!-- generated: nothing -->")


# -- the check of the built site -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("html", "problem"),
    [
        ('<a href="other.html#there">x</a>', ""),
        ('<a href="other.html#not-there">x</a>', "no such anchor"),
        ('<a href="#nowhere">x</a>', "no such anchor"),
        ('<a href="nowhere.html">x</a>', "no such page"),
        ('<a href="../outside.html">x</a>', "leaves the site"),
        ('<a href="https://example.org/a">x</a>', ""),
        ('<a href="http://localhost:8000/v1">x</a>', ""),
        ('<a href="http://example.org">x</a>', "https is wanted"),
        ('<a href="https://nohost">x</a>', "no host"),
        ('<a href="https://me:secret@example.org">x</a>', "no host"),
        ('<a href="javascript:alert()">x</a>', "is not wanted"),
        ('<script src="https://cdn.example.org/x.js"></script>', "from elsewhere"),
        ('<link rel="stylesheet" href="https://fonts.example.org/x.css">', "from elsewhere"),
        ('<img src="//example.org/x.png">', "from elsewhere"),
        ('<pre class="mermaid"></pre>', "load code"),
    ],
)
def test_the_check_sees(tmp_path: Path, html: str, problem: str) -> None:
    (tmp_path / "page.html").write_text(html)
    (tmp_path / "other.html").write_text('<h1 id="there">x</h1>')
    found = list(check.problems(tmp_path))
    assert len(found) == bool(problem)
    assert all(problem in line for line in found)


@pytest.mark.parametrize(
    "css",
    [
        "a{background:url(https://example.org/x.png)}",
        'a{background:url( "https://example.org/x.png" )}',
        '@import "https://example.org/x.css";',
        "@import'https://example.org/x.css';",
        "@import url(https://example.org/x.css);",
    ],
)
@pytest.mark.parametrize("page", ["x", "<style>{css}</style>", "<p style='{css}'>"])
def test_the_check_sees_what_a_style_loads_from_elsewhere(tmp_path: Path, css: str, page: str) -> None:
    inside = page != "x"
    if "style='" in page:
        css = css.replace("'", '"')
    (tmp_path / "page.html").write_text(page.replace("{css}", css))
    (tmp_path / "page.css").write_text("" if inside else css)
    assert "from elsewhere" in next(check.problems(tmp_path))


@pytest.mark.parametrize(
    ("page", "why"),
    [
        ("<img srcset='https://example.org/x.png 2x'>", "from elsewhere"),
        ("<object data='https://example.org/x'></object>", "from elsewhere"),
        ("<img src='there/is/none.png'>", "no such page"),
        ("<link rel='stylesheet' href='none.css'>", "no such page"),
        ("<script src='none.js'></script>", "no such page"),
    ],
)
def test_the_check_sees_what_a_page_loads(tmp_path: Path, page: str, why: str) -> None:
    (tmp_path / "page.html").write_text(page)
    assert why in next(check.problems(tmp_path))


def test_no_page_is_a_problem(tmp_path: Path) -> None:
    assert "there is no page" in next(check.problems(tmp_path))
