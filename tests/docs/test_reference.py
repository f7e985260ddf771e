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
    """Load a script of docs/, which is no package; it may import its neighbours."""
    sys.path.insert(0, str(ROOT / "docs"))
    spec = importlib.util.spec_from_file_location(f"docs_{name}", ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(ROOT / "docs"))
    return module


generate, check = script("generate"), script("check")


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return generate.pages()


def anchors(text: str) -> list[str]:
    """Return where links into a Markdown page may lead: its headings and `<a id>`."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
    made = [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]
    return [*made, *re.findall(r'<a id="([^"]+)"></a>', prose)]


def sections(text: str, level: int = 2) -> dict[str, str]:
    """Return the sections of a Markdown page by their titles."""
    parts = re.split(rf"^{'#' * level} (.*)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


# -- what is committed -----------------------------------------------------------------------------


def test_what_is_generated_is_as_the_code_would_make_it_now() -> None:
    """`make docs`, or `python docs/generate.py`, writes what is stale."""
    made: dict[Path, str] = generate.generated()
    stale = [p.relative_to(ROOT).as_posix() for p, text in made.items() if p.read_text("utf-8") != text]
    assert len(made) >= 31
    assert stale == []


MARKDOWN = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", MARKDOWN, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_leads_to_a_file_and_a_place_of_the_repository(page: Path) -> None:
    """A code host shows the pages as they lie: what the site does to links does not help there."""
    text = re.sub(r"^```.*?^```$|`[^`\n]*`", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    links = re.findall(r"\]\(([^)\s]+)\)|(?:srcset|src|href)=\"([^\"]+)\"", text)
    for link in (first or second for first, second in links):
        path, _, anchor = link.partition("#")
        if ":" in path:
            continue
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text("utf-8")), link


def test_python_names_are_shown_as_their_source_has_them() -> None:
    page = (ROOT / "docs/reference/api/task.md").read_text("utf-8")
    assert '<a id="critic_loop.Task"></a>\n\n## Task\n' in page
    assert "| `reference` | `JsonValue` | `None` | The right answer where one is known;" in page
    assert "| <code>str &#124; None</code> | `None` |" in page  # code hosts end a cell at a bar, even in code
    assert "```python\nof(given: str | Sequence[Message] | Task, **fields: Any) -> Task\n```" in page


# -- what is complete ------------------------------------------------------------------------------


def test_every_public_name_is_on_one_page(pages: dict[str, str]) -> None:
    api = [text for page, text in pages.items() if page.startswith("reference/api/")]
    documented = [
        name for text in api for name in re.findall(r'^<a id="(\S+)"></a>\n\n## ', text, re.MULTILINE)
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
    assert set(sections(page)) == {kind.code for kind in kinds}
    for kind in kinds:
        assert f"`{kind.__name__}`" in page
        assert kind("x").docs == f"reference/errors.html#{kind.code}"
    for kind in {kind.code: kind for kind in reversed(kinds)}.values():
        assert "\n\n" in (kind.__doc__ or ""), f"{kind.__name__} does not say what to do"


def test_an_error_names_its_place() -> None:
    assert CriticLoopError("x").docs == "reference/errors.html#error"


def test_every_bundled_recipe_has_an_entry(pages: dict[str, str]) -> None:
    assert list(sections(pages["reference/recipes.md"])) == list(Library().recipes())


def test_every_bundled_agent_and_prompt_has_an_entry(pages: dict[str, str]) -> None:
    page = pages["reference/agents.md"]
    specs = {path for path in (ROOT / "agents").rglob("*.toml") if path.parent.name != "recipes"}
    assert len(re.findall(r"^## ", page, re.MULTILINE)) >= len(specs)
    assert set(generate.agent_names()) <= set(sections(page))
    used = {Library().agent(name).prompt for name in generate.agent_names()}
    assert used == {path.relative_to(ROOT / "prompts").as_posix() for path in (ROOT / "prompts").rglob("*.md")}
    assert all(f"`prompts/{prompt}`" in page for prompt in used)


def test_every_command_and_option_is_listed(pages: dict[str, str]) -> None:
    page = pages["reference/cli.md"]
    commands = dict(generate.commands())
    assert {"critic-loop", "critic-loop run", "critic-loop export"} <= set(commands)
    for path, command in commands.items():
        section = sections(page)[path]
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
        generate.filled("<!-- generated: nothing -->\n<!-- /generated -->\n")


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
