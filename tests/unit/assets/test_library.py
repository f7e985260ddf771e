import pytest

from critic_loop.assets import Library
from critic_loop.assets.library import bundled
from critic_loop.core.errors import AssetError
from critic_loop.outputs import LIKELIHOODS, critique_of, output_of
from critic_loop.search import build
from critic_loop.select import selection
from critic_loop.verifiers import verifier_named

PROMPT = "+++\nvariables = []\n+++\n{% block user %}mine{% endblock %}\n"
RECIPE = 'search = { kind = "refine" }\n'


@pytest.fixture
def project(tmp_path):
    for folder in ("agents/recipes", "agents/actor", "agents/critic", "prompts/actor"):
        (tmp_path / folder).mkdir(parents=True)
    return tmp_path


def names(pattern, base):
    return sorted(
        p.relative_to(bundled() / base).with_suffix("").as_posix() for p in (bundled() / base).glob(pattern)
    )


BUNDLED_RECIPES = names("*.toml", "agents/recipes")
BUNDLED_AGENTS = [n for n in names("*/*.toml", "agents") if not n.startswith("recipes")]


# -- what is bundled ---------------------------------------------------------------------------


def test_there_is_something_bundled():
    assert "refine" in BUNDLED_RECIPES
    assert "actor/solver" in BUNDLED_AGENTS


@pytest.mark.parametrize("name", BUNDLED_RECIPES)
def test_every_recipe_loads_with_all_that_it_names(name):
    library = Library()
    recipe = library.recipe(name)
    assert recipe.name == name
    assert recipe.description
    build([(use.kind, dict(use.settings)) for use in recipe.search])
    selection(recipe.selection.kind, recipe.selection.settings)
    for verifier in recipe.verifiers:
        verifier_named(verifier)
    agents = [recipe.actor, *(use.agent for use in recipe.critics), *([recipe.judge] if recipe.judge else [])]
    agents += [recipe.debate.agent] if recipe.debate else []
    roles = [library.agent(agent).role for agent in agents]
    compare = ["judge"] * bool(recipe.judge) + ["debater"] * bool(recipe.debate)
    assert roles == ["actor", *["critic"] * len(recipe.critics), *compare]


@pytest.mark.parametrize("name", BUNDLED_AGENTS)
def test_every_agent_loads_with_its_prompt_and_output(name):
    library = Library()
    spec = library.agent(name)
    template = library.prompt(spec.prompt)
    assert ("feedback" if spec.role == "actor" else "user") in template.blocks
    weighing = LIKELIHOODS.get(spec.output)
    if weighing is None:
        (output_of if spec.role in ("actor", "debater") else critique_of)(spec.output)
    else:
        assert template.blocks >= set(weighing.blocks)
    actor = {"schema", "feedback", "rejected", "round", "so_far", "also_shown"}
    given = {"actor": actor, "judge": {"task", "first", "second", "debate"}}
    given["debater"] = {"task", "mine", "theirs", "debate"}
    critics = {"task", "answer", "rejected", "reference", "feedback", "schema"}
    assert template.variables <= given.get(spec.role, critics)


def test_every_prompt_belongs_to_an_agent():
    library = Library()
    used = {library.agent(name).prompt.removesuffix(".md") for name in BUNDLED_AGENTS}
    assert used == set(names("*/*.md", "prompts"))


def test_all_recipes_are_listed_by_name():
    assert list(Library().recipes()) == BUNDLED_RECIPES


# -- folders -----------------------------------------------------------------------------------


def test_a_projects_own_files_come_first(project):
    (project / "agents/recipes/refine.toml").write_text('description = "mine"\n' + RECIPE)
    (project / "agents/recipes/own.toml").write_text(RECIPE)
    (project / "prompts/actor/solver.md").write_text(PROMPT)
    library = Library([project])
    assert library.recipe("refine").description == "mine"
    assert library.recipe("own").name == "own"
    assert library.prompt("actor/solver.md").render("user", {}, "k") == "mine"
    assert library.recipe("best-of-n") == Library().recipe("best-of-n")
    assert set(library.recipes()) == {*BUNDLED_RECIPES, "own"}


def test_the_first_folder_wins(project, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    (other / "agents/recipes").mkdir(parents=True)
    for folder, text in ((project, "first"), (other, "second")):
        (folder / "agents/recipes/own.toml").write_text(f'description = "{text}"\n' + RECIPE)
    assert Library([project, other]).recipe("own").description == "first"
    assert Library([str(other), str(project)]).recipe("own").description == "second"


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(AssetError, match=r"nowhere: no such folder\. Name a folder with agents/ or prompts/"):
        Library([tmp_path / "nowhere"])


def test_a_recipe_may_be_a_file_anywhere(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(RECIPE)
    assert Library().recipe(str(path)).name == "mine"
    with pytest.raises(AssetError, match=r"other\.toml: no such recipe file"):
        Library().recipe(str(tmp_path / "other.toml"))


def test_a_file_is_read_once(project):
    path = project / "prompts/actor/own.md"
    path.write_text(PROMPT)
    library = Library([project])
    first = library.prompt("actor/own.md")
    path.write_text("broken")
    assert library.prompt("actor/own.md") is first


# -- what is wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        (
            "recipe",
            "refin",
            r"There is no recipe 'refin' \(no file agents/recipes/refin\.toml\)\. Did you mean 'refine'\?",
        ),
        ("recipe", "zzz", r"There is no recipe 'zzz' .* There are: .*best-of-n, .*refine"),
        ("agent", "actor/solvr", r"Did you mean 'actor/solver'\?"),
        ("agent", "qqq", r"There are: actor/.*judge/pairwise\.$"),
        ("prompt", "critic/stepwis.md", r"Did you mean 'critic/stepwise\.md'\?"),
    ],
)
def test_an_unknown_name_gets_the_nearest_one(kind, name, message):
    with pytest.raises(AssetError, match=message):
        getattr(Library(), kind)(name)


def test_what_lies_in_the_current_folder_is_pointed_at(project, monkeypatch):
    (project / "agents/recipes/mine.toml").write_text(RECIPE)
    monkeypatch.chdir(project)
    with pytest.raises(AssetError, match=r"no recipe 'mine' .* in the current folder: add --assets \."):
        Library().recipe("mine")
    assert Library([project]).recipe("mine").name == "mine"


@pytest.mark.parametrize("name", ["../secret", "a/../../secret", "/etc/passwd"])
@pytest.mark.parametrize("kind", ["recipe", "agent", "prompt"])
def test_no_name_leads_out_of_the_library(project, kind, name):
    for suffix in ("", ".md", ".toml"):
        (project.parent / f"secret{suffix}").write_text(PROMPT)
    with pytest.raises(AssetError, match="is a path outside the library"):
        getattr(Library([project]), kind)(name)


def test_a_spec_cannot_name_a_prompt_outside(project):
    (project / "agents/actor/sly.toml").write_text(
        'role = "actor"\nprompt = "../agents/actor/sly.toml"\nslot = "a"\n'
    )
    library = Library([project])
    with pytest.raises(AssetError, match="is a path outside the library"):
        library.prompt(library.agent("actor/sly").prompt)


GOOD_AGENT = 'role = "actor"\nprompt = "actor/solver.md"\nslot = "actor"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("role = ", "not TOML: "),
        (GOOD_AGENT + 'model = "gpt"\n', r"unknown key 'model'\."),
        (GOOD_AGENT + "[sampling]\ntemprature = 1.0\n", r"unknown key 'sampling\.temprature'\."),
        (
            GOOD_AGENT + "[sampling]\ntemperature = 'hot'\n",
            r"key 'sampling\.temperature': .*valid number.*, not 'hot'\.",
        ),
        ('role = "actor"\nslot = "actor"\n', r"key 'prompt': Field required\."),
        (
            GOOD_AGENT.replace('"actor"', '"poet"', 1),
            r"key 'role': .*'actor', 'critic', 'judge' or 'debater', not 'poet'\.",
        ),
        (
            GOOD_AGENT.replace('"actor"', '"critic"', 1),
            r"key 'role' is 'critic', but its folder is 'actor'\.",
        ),
    ],
)
def test_a_broken_agent_is_named_with_file_key_and_what_was_expected(project, text, message):
    path = project / "agents/actor/mine.toml"
    path.write_text(text)
    with pytest.raises(AssetError, match=message) as caught:
        Library([project]).agent("actor/mine")
    assert str(caught.value).startswith(f"{path}:")


def test_a_file_that_is_no_text_is_named(project):
    path = project / "agents/recipes/mine.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(AssetError, match=r"mine\.toml: cannot be read as UTF-8 text"):
        Library([project]).recipe("mine")


def test_windows_line_ends_are_fine(project):
    (project / "prompts/actor/own.md").write_bytes(PROMPT.replace("\n", "\r\n").encode())
    assert Library([project]).prompt("actor/own.md").render("user", {}, "k") == "mine"


def test_inside_a_wheel_the_assets_lie_within_the_package(tmp_path, monkeypatch):
    from critic_loop.assets import library

    (tmp_path / "_assets").mkdir()
    monkeypatch.setattr(library, "files", lambda package: tmp_path)
    assert library.bundled.__wrapped__() == tmp_path / "_assets"
    (tmp_path / "_assets").rmdir()
    assert library.bundled.__wrapped__() == tmp_path.parent
