"""`recipes check` finds everything that is wrong, with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from critic_loop.assets import Library, bundled
from critic_loop.assets.problems import line_of
from critic_loop.graph.check import check_folder
from critic_loop.roles.prompted import BLOCKS, VARIABLES
from tests.cli.conftest import Cli


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for folder in ("agents/recipes", "agents/actor", "agents/critic", "prompts/actor"):
        (tmp_path / folder).mkdir(parents=True)
    return tmp_path


def test_what_is_bundled_is_in_order(cli: Cli) -> None:
    assert check_folder(bundled(), Library())[1] == []
    ended = cli("recipes", "check")
    assert ended.code == 0
    assert "0 problems" in ended.err


def test_every_problem_of_a_recipe(cli: Cli, project: Path) -> None:
    (project / "agents/recipes/bad.toml").write_text(
        """description = "x"
search = [{ kind = "sample", n = 2 }, { kind = "refin" }]
actor = "actor/solvr"
critics = [
    { agent = "critic/stepwise", see = ["answer"] },
    { agent = "actor/solver" },
    { agent = "critic/nobody" },
]
verifiers = ["answer", "nobody", "no.such.module:thing"]
select = "keep-if-better"
memory = "rejected"
lane = 3
stop = [{ max_round = 3 }]
"""
    )
    ended = cli("recipes", "check", "agents/recipes/bad.toml")
    assert ended.code == 1
    assert "1 file checked, 10 problems." in ended.err
    lines = ended.out.splitlines()
    for line, said in [
        (2, "there is no search 'refin'"),
        (3, "key 'actor': There is no agent 'actor/solvr' (no file agents/actor/solvr.toml). Did you mean"),
        (5, "unknown key 'critics.0.see'. Did you mean 'sees'?"),
        (6, "key 'critics': 'actor/solver' has role 'actor', not 'critic'."),
        (7, "There is no agent 'critic/nobody'"),
        (9, "unknown verifier 'nobody'"),
        (9, "cannot import 'no.such.module'"),
        (10, "selection 'keep-if-better' compares, but the recipe has no judge. Set judge = "),
        (13, "there is no stop rule 'max_round'"),
        (12, "unknown key 'lane'. Did you mean 'lanes'?"),
    ]:
        assert any(said in one and one.startswith(f"agents/recipes/bad.toml:{line}:") for one in lines), said


def test_a_selection_with_settings_is_looked_through(cli: Cli, project: Path) -> None:
    folder = project / "agents/recipes"
    for name, select in (
        ("alpha", '{ kind = "b4", alpha = 0 }'),
        ("beta", '{ kind = "b4", beta = 1 }'),
        ("judge", '{ kind = "win-rate", among = 3 }'),
        ("good", '{ kind = "b4", alpha = 10 }'),
    ):
        (folder / f"{name}.toml").write_text(f'search = {{ kind = "refine" }}\nselect = {select}\n')
    lines = cli("recipes", "check").out.splitlines()
    for said in (
        "alpha.toml:2: key 'select': selection 'b4', setting 'alpha': Input should be greater than 0.",
        "beta.toml:2: key 'select': selection 'b4' has no setting 'beta'; it has alpha, beta0.",
        "judge.toml:2: selection 'win-rate' compares, but the recipe has no judge. Set judge =",
    ):
        assert any(said in line for line in lines), lines
    assert not any("good.toml" in line for line in lines)


@pytest.mark.parametrize(
    ("search", "actors", "said"),
    [
        (
            '{ kind = "mcts", moves = "step" }',
            "",
            "the search asks actor/solver for steps, but its spec does not",
        ),
        (
            '{ kind = "mcts", hindsight = 1 }',
            "",
            "actor/solver attempts beside the path, but its prompt has no",
        ),
        (
            '{ kind = "evolve" }',
            "",
            "actor/solver attempts beside the path, but its prompt has no block 'also_shown'",
        ),
        ('[{ kind = "anti-repeat" }, { kind = "sample" }]', "", "attempts beside the path"),
        (
            '{ kind = "ab-mcts", agents = ["actor", "second"] }',
            "",
            "asks actor 'second'; there are actor. Name it",
        ),
        (
            '{ kind = "mcts", moves = "thought", answerer = "coder" }',
            "",
            "asks actor 'coder'; there are actor.",
        ),
        (
            '[{ kind = "refine" }, { kind = "sample" }]',
            "",
            "Refine stands around another search but builds on its",
        ),
        ('{ kind = "ab-mcts", agents = ["actor", "second"] }', 'second = "actor/solver"', ""),
        ('{ kind = "mcts", moves = "step", agent = "second" }', 'second = "actor/step"', ""),
        ('{ kind = "mcts" }', "", ""),
    ],
)
def test_actors_can_do_what_the_search_asks_of_them(
    cli: Cli, project: Path, search: str, actors: str, said: str
) -> None:
    recipe = f'search = {search}\nactor = "actor/solver"\nactors = {{ {actors} }}\n'
    (project / "agents/recipes/mine.toml").write_text(recipe)
    ended = cli("recipes", "check")
    assert ended.code == (1 if said else 0)
    assert ("mine.toml:1: key 'search': " in ended.out) is bool(said)
    assert said in ended.out


def test_a_debate_is_looked_through(cli: Cli, project: Path) -> None:
    folder = project / "agents/recipes"
    head = 'search = { kind = "sample" }\nselect = "tournament"\n'
    for name, rest in (
        ("deaf", 'judge = "judge/pairwise"\ndebate = { agent = "debater/advocate" }\n'),
        ("mute", 'judge = "judge/debate"\ndebate = { agent = "actor/solver" }\n'),
        ("short", 'judge = "judge/debate"\ndebate = { agent = "debater/advocate", rounds = 0 }\n'),
        ("good", 'judge = "judge/debate"\ndebate = { agent = "debater/advocate", rounds = 3 }\n'),
    ):
        (folder / f"{name}.toml").write_text(head + rest)
    lines = cli("recipes", "check").out.splitlines()
    for file, said in (
        ("deaf.toml:4:", "does not declare the variable 'debate'. Let the prompt print what was argued"),
        ("mute.toml:4:", "'actor/solver' has role 'actor', not 'debater'."),
        ("short.toml:4:", "'debate.rounds'"),
    ):
        assert any(file in line and said in line for line in lines), (said, lines)
    assert not any("good.toml" in line for line in lines)


def test_problems_of_specs_and_prompts(cli: Cli, project: Path) -> None:
    (project / "agents/recipes/good.toml").write_text(
        'search = { kind = "refine" }\nactor = "actor/mine"\ncritics = [{ agent = "critic/mine" }]\n'
    )
    (project / "agents/actor/mine.toml").write_text(
        'role = "actor"\nprompt = "actor/mine.md"\nslot = "actor"\noutput = "txt"\n'
        "[sampling]\ntemprature = 1.0\n"
    )
    (project / "agents/critic/mine.toml").write_text(
        'role = "critic"\nprompt = "critic/mine.md"\nslot = "critic"\noutput = "critique"\n'
    )
    (project / "agents/critic/other.toml").write_text(
        'role = "actor"\nprompt = "actor/fits-not.md"\nslot = "a"\n'
    )
    (project / "prompts/actor/mine.md").write_text(
        "+++\nvariables = ['feedback', 'spare']\nvars = 1\n+++\n"
        "{% block feedback %}\n{{ feedback }} {{ taks }}\n{% endblock %}\n"
    )
    (project / "prompts/actor/fits-not.md").write_text(
        "+++\nvariables = ['mood']\n+++\n{% block user %}{{ mood }}{% endblock %}\n"
    )
    (project / "prompts/actor/broken.md").write_text("+++\nvariables = []\n+++\n{% block user %}\n{{ x }\n")
    ended = cli("recipes", "check", ".", "--json")
    assert ended.code == 1
    found = {(p["file"], p["line"]): f"{p['message']} {p['hint']}" for p in ended.json["problems"]}
    for place, said in {
        (
            "agents/actor/mine.toml",
            2,
        ): "key 'prompt': 'actor/mine.md' has problems of its own: see prompts/actor/mine.md.",
        ("agents/actor/mine.toml", 4): "unknown output 'txt'",
        ("agents/actor/mine.toml", 6): "unknown key 'sampling.temprature'. Did you mean 'temperature'?",
        ("agents/critic/mine.toml", 2): "There is no prompt 'critic/mine.md'",
        ("agents/critic/other.toml", 1): "key 'role' is 'actor', but its folder says 'critic'.",
        ("agents/critic/other.toml", 2): "wants a variable 'mood', which role 'actor' is not given.",
        ("agents/recipes/good.toml", 2): "'actor/mine' has problems of its own: see agents/actor/mine.toml.",
        ("prompts/actor/mine.md", 2): "variable 'spare' is declared in 'variables', but never used",
        ("prompts/actor/mine.md", 3): "unknown key 'vars'",
        ("prompts/actor/mine.md", 6): "variable 'taks' is used, but not declared in 'variables'",
        ("prompts/actor/broken.md", 5): "unexpected '}'",
    }.items():
        assert said in found.get(place, ""), (place, found)
    assert len(ended.json["files"]) == 7
    by_name = cli("recipes", "check", "good")
    assert by_name.code == 1
    assert "4 files checked" not in by_name.err
    assert "agents/actor/mine.toml" in by_name.out


@pytest.mark.parametrize("above", ["agents", "recipes", "prompts", "agents/recipes"])
def test_what_a_project_lies_in_may_have_any_name(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, above: str
) -> None:
    project = tmp_path / above / "proj"
    project.mkdir(parents=True)
    monkeypatch.chdir(project)
    assert cli("new", "recipe", "mine", "--prompts").code == 0
    for what in ([], ["."], ["agents/recipes/mine.toml"], ["agents/actor/mine.toml"], [str(project)]):
        ended = cli("recipes", "check", *what)
        assert ended.code == 0, (what, ended.out)
    (project / "agents/critic/mine.toml").rename(project / "agents/actor/other.toml")
    assert "its folder says 'actor'" in cli("recipes", "check", "agents/actor/other.toml").out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nobody"], "There is no recipe 'nobody'"),
        (["nobody.toml"], "nobody.toml: no such file."),
        (["prompts"], "the folder has neither agents/ nor prompts/"),
    ],
)
def test_what_cannot_be_checked(cli: Cli, project: Path, arguments: list[str], said: str) -> None:
    ended = cli("recipes", "check", *arguments)
    assert ended.code == 2
    assert said in ended.clean


def test_what_roles_are_given_is_what_their_prompts_may_want() -> None:
    library = Library()
    for name in ("actor/solver", "actor/anti-repeat", "critic/stepwise", "critic/rubric", "judge/pairwise"):
        agent = library.agent(name)
        template = library.prompt(agent.prompt)
        assert template.variables <= VARIABLES[agent.role]
        assert BLOCKS[agent.role] in template.blocks


def test_a_file_that_is_no_text_is_named_once(cli: Cli, project: Path) -> None:
    (project / "agents/recipes/bad.toml").write_bytes(b"\xff")
    ended = cli("recipes", "check", "agents/recipes/bad.toml")
    assert ended.out.startswith("agents/recipes/bad.toml: cannot be read as UTF-8 text")


def test_lines_of_toml() -> None:
    text = 'a = 1\n"b c" = { d = 2,\n  e = 3 }\n[f.g]\nh = 4\n[[i]]\nj = 5\n'
    for loc, line in {
        ("a",): 1, ("b c", "d"): 2, ("b c", "e"): 3, ("f",): None, ("f", "g"): 4, ("f", "g", "h"): 5,
        ("i", 0, "j"): 7,
        ("f", "g", "x"): 4, ("z",): None, ("b c", "x"): 2,
    }.items():  # fmt: skip
        assert line_of(text, loc) == line, loc
    assert line_of("a = 'x\u2028y\u0085z'  # \u2029\nb = 1\n", ("b",)) == 2, "only a new line ends a line"
