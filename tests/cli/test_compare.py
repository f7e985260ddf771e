"""`compare`: two loops on the same tasks, for people and programs."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from critic_loop.core.records import Outcome, Spend, Task, Usage
from critic_loop.core.tree import Tree
from tests.cli.conftest import Cli
from tests.cli.test_reading import keep
from tests.conftest import Grown


def of(recipe: str, task: int) -> Grown:
    g = Grown(Task.of(f"Task {task}", id=f"task-{task}"), tree=f"{recipe}-{task}")
    g.tree.head = g.tree.head.model_copy(update={"recipe": recipe})
    g.tree.log[0] = g.tree.head
    return g


def ran(recipe: str, task: int, verdict: str | None, tokens: int, *, usd: float | None = None) -> Tree:
    """A tree of one attempt that ended after so many tokens."""
    g = of(recipe, task)
    attempt = g.attempt(answer="x")
    if verdict is not None:
        g.verified(attempt, verdict, score=0.9 if verdict == "pass" else 0.2)
    spend = Spend(calls=2, usage=Usage(output_tokens=tokens), cost_usd=usd)
    g.tree.append(Outcome(chosen=attempt, stop="exhausted", spend=spend))
    return g.tree


def arm(recipe: str, solved: str, *, tokens: int = 100, usd: float | None = None) -> Iterable[Tree]:
    """`+` is a task solved, `-` one not solved, `?` one whose result is unknown."""
    verdicts = {"+": "pass", "-": "fail", "?": None}
    return [ran(recipe, n, verdicts[sign], tokens * (n + 1), usd=usd) for n, sign in enumerate(solved)]


@pytest.fixture
def two(cli: Cli) -> str:
    keep("two.db", [*arm("new", "+++++++--+"), *arm("old", "++-------+", tokens=200)])
    return "two.db"


def test_two_recipes_of_one_store(cli: Cli, two: str) -> None:
    found = cli("compare", two, "--json").json
    assert (found["ours"]["recipe"], found["theirs"]["recipe"], found["tasks"]) == ("new", "old", 10)
    assert (found["ours"]["mean"], found["theirs"]["mean"], found["difference"]) == (0.8, 0.3, 0.5)
    assert found["ours"]["ci95"] == [0.4902, 0.9433]
    assert (found["better"], found["worse"], found["mcnemar_p"]) == (5, 0, 0.0625)
    assert 0 < found["ci95"][0] < 0.5 < found["ci95"][1] <= 1
    assert (found["ours"]["calls"], found["ours"]["output_tokens"]) == (20, 5500)
    assert (found["curve"][0], found["curve"][-1]) == (
        {"budget": 100, "ours": 0.1, "theirs": 0.0},
        {"budget": 2000, "ours": 0.8, "theirs": 0.3},
    )


def test_it_reads_well(cli: Cli, two: str) -> None:
    out = cli("compare", two).out
    for line in (
        "new   80.0 %  49.0 % to 94.3 %     10     20       5,500    -",
        "difference  +50.0 points  95 % +20.0 to +80.0  over 10 tasks that both have",
        "new is better on 5, old on 0  (McNemar p = 0.062)",
        "tokens a task, up to     new     old",
        "2,000  80.0 %  30.0 %",
    ):
        assert line in out


def test_the_other_way_round_turns_the_sign(cli: Cli, two: str) -> None:
    one = cli("compare", two, "--json").json
    for options in (("--recipe", "old"), ("--against", "new"), ("--recipe", "old", "--against", "new")):
        other = cli("compare", two, *options, "--json").json
        assert other["difference"] == -one["difference"]
        assert other["ours"] == one["theirs"]


def test_two_stores(cli: Cli, two: str) -> None:
    keep("more.db", [*arm("new", "+-+-+-+-+-+-")])
    found = cli("compare", two, "more.db", "--recipe", "new", "--json").json
    assert (found["ours"]["recipe"], found["theirs"]["recipe"]) == ("new", "new")
    assert (found["tasks"], found["theirs"]["unmatched"]) == (10, 2)
    text = cli("compare", two, "more.db", "--recipe", "old")
    assert "Left out of new: 2 trees whose task the other side does not have." in text.err
    assert "more.db" in cli("compare", two, "more.db", "--recipe", "new").out, (
        "equal recipes: stores tell apart"
    )


def test_what_is_not_known_is_left_out_and_told(cli: Cli) -> None:
    unended = of("b", 3)
    unended.ask()
    keep("some.db", [*arm("a", "+?-+"), *arm("b", "+-?"), unended.tree])
    ended = cli("compare", "some.db", "--recipe", "a", "--json")
    assert (ended.json["tasks"], ended.json["ours"]["unknown"], ended.json["theirs"]["unfinished"]) == (1, 1, 1)
    assert ended.json["ours"]["unmatched"] == 2
    told = cli("compare", "some.db", "--recipe", "a").err
    assert "Left out of a: 1 tree whose result is unknown." in told
    assert "Left out of b: 1 tree not ended." in told


def test_scores_and_dollars(cli: Cli, two: str) -> None:
    found = cli("compare", two, "--measure", "score", "--json").json
    assert (found["measure"], found["difference"], found["curve"], found["mcnemar_p"]) == (
        "score",
        0.4,
        [],
        None,
    )
    assert "difference  +0.400  95 % +0." in cli("compare", two, "--measure", "score").out
    refused = cli("compare", two, "--unit", "usd")
    assert refused.code == 2
    assert "the cost of a run of task 'task-0' in usd is unknown." in refused.clean
    keep("paid.db", [*arm("a", "+-", usd=0.25), *arm("b", "-+", usd=0.5)])
    paid = cli("compare", "paid.db", "--unit", "usd", "--json").json
    assert paid["ours"]["cost_usd"] == 0.5
    assert [row["budget"] for row in paid["curve"]][::7] == [0.25, 0.5]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("three.db",), "holds trees of 3 recipes: 'a', 'b', 'c'. Say which with --recipe."),
        (("three.db", "--recipe", "a"), "holds trees of 2 recipes: 'b', 'c'. Say which with --against."),
        (("three.db", "--recipe", "a", "--against", "d"), "holds no tree of recipe 'd'"),
        (("one.db",), "the store holds trees of one recipe only. Name another store, too."),
        (("three.db", "--recipe", "a", "--against", "c"), "'a' and 'c' have no task in common that is known."),
        (("three.db", "none.db"), "there is no store none.db"),
        (("three.db", "--unit", "euros"), "Invalid value for '--unit'"),
    ],
)
def test_what_is_meant_is_asked_back(cli: Cli, arguments: tuple[str, ...], told: str) -> None:
    keep("three.db", [*arm("a", "+"), *arm("b", "-"), *arm("c", "?")])
    keep("one.db", [*arm("a", "+")])
    ended = cli("compare", *arguments)
    assert ended.code == 2
    assert told in " ".join(ended.clean.replace("hint: ", "").split())
