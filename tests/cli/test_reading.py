"""`why`, `failures` and `show`: stored trees, read by people and programs."""

from __future__ import annotations

import asyncio
import io
import json
import re
from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from critic_loop.core.records import Step, Subject, Task, Verdict
from critic_loop.core.tree import Tree
from critic_loop.render.html import page
from critic_loop.render.outline import outline
from critic_loop.store import open_store
from critic_loop.testing.trees import ALL
from tests.cli.conftest import Cli
from tests.conftest import Grown
from tests.planted import by_hand
from tests.planted.by_hand import accepts, cannot_judge, end, rejects, user_says

TASK = "What is 6 * 7?"

HAND = by_hand.PLANTED


def keep(where: str, trees: Iterable[Tree]) -> None:
    async def write() -> None:
        store = open_store(where)
        for tree in trees:
            await store.append(tree.id, *tree.log)
        await store.aclose()

    asyncio.run(write())


@pytest.fixture
def mixed(cli: Cli) -> str:
    """A store with trees of all kinds in the folder where commands run."""
    keep("mixed.db", [*(make() for make in ALL.values()), *(make() for make in HAND.values())])
    return "mixed.db"


# -- finding a tree --------------------------------------------------------------------------------


def test_the_only_tree_need_not_be_named(cli: Cli) -> None:
    keep("one.db", [ALL["refine"]()])
    assert cli("why", "one.db", "--json").json["tree"] == "refine"
    assert cli("why", "sqlite:///one.db", "ref", "--json").json["tree"] == "refine"
    assert cli("why", "one.db", "refine.2", "--json").json["tree"] == "refine"


@pytest.mark.parametrize(
    ("tree", "told"),
    [
        (["broken"], ["4 trees begin with 'broken': broken-long-chain, broken-one-branch"]),
        (["refime"], ["mixed.db has no tree 'refime'.", "Closest are refine"]),
        (["\x1b[31m"], ["has no tree '<U+001B>[31m'"]),
    ],
)
@pytest.mark.parametrize("command", ["why", "show"])
def test_which_tree_is_asked_back(cli: Cli, mixed: str, command: str, tree: list[str], told: list[str]) -> None:
    ended = cli(command, mixed, *tree)
    assert ended.code == 2
    assert all(words in ended.clean for words in told), ended.err


@pytest.mark.parametrize("command", [["why"], ["show", "--full"], ["show", "--svg", "tree.svg"]])
def test_of_several_trees_one_must_be_named(cli: Cli, mixed: str, command: list[str]) -> None:
    name, *options = command
    ended = cli(name, mixed, *options)
    assert ended.code == 2
    for words in (
        "holds 44 trees: name one.",
        "\n  endpoint-down  by hand, 3 attempts, failing  What is 6 * 7?\n  rejected-by-opinion  ",
        "\n  still-running  by hand, 1 attempt, unfinished  ",
        "the newest come first; 34 older ones are not listed.",
    ):
        assert words in ended.clean


@pytest.mark.parametrize("command", [["why"], ["show"], ["failures"]])
def test_a_store_that_is_not_there(cli: Cli, command: list[str]) -> None:
    assert cli(*command, "none.db").code == 2
    assert "there is no store none.db" in cli(*command, "none.db").clean
    assert "names no store" in cli(*command, "trees.txt").clean
    keep("empty.db", [])
    ended = cli(*command, "memory", "--json")
    assert ended.code == 2
    assert "holds no tree" in ended.json["error"]["message"]


# -- why -------------------------------------------------------------------------------------------


def test_why_reads_well(cli: Cli, mixed: str) -> None:
    ended = cli("why", mixed, "broken-long-chain")
    assert ended.code == 0
    assert ended.out.startswith("broken_by_critique  broken-long-chain\nAttempt 3 was right, but the critic")
    assert "broken-long-chain.f3  critic  fail, score 0.1: 42 is off." in ended.out
    assert "\nnext  Fix or replace the critic that rejected it" in ended.out


def test_why_as_json(cli: Cli, mixed: str) -> None:
    document = cli("why", mixed, "solved-late", "--json").json
    assert list(document) == ["tree", "cause", "text", "evidence", "hint"]
    assert document["cause"] == "solved"


# -- failures --------------------------------------------------------------------------------------


def test_failures_by_cause(cli: Cli, mixed: str) -> None:
    document = cli("failures", mixed, "--json").json
    assert (document["by"], document["trees"], document["failed"]) == ("cause", 44, 25)
    groups = {group["value"]: group for group in document["groups"]}
    assert groups["broken_by_critique"] == {
        "value": "broken_by_critique",
        "trees": 4,
        "failed": 4,
        "share": 0.0909,
        "causes": {"broken_by_critique": 4},
        "example": "broken-long-chain",
        "task": TASK,
    }
    assert groups["solved"]["failed"] == 0
    values = [group["value"] for group in document["groups"]]
    assert values.index("solved") > values.index("error"), "what is no failure comes last"
    assert sum(group["trees"] for group in document["groups"]) == 44
    text = cli("failures", mixed).out
    assert text.startswith("44 trees, 25 of them failed\n")
    assert re.search(rf"broken_by_critique +4 +9\.1% +broken-long-chain +{re.escape(TASK[:20])}", text)


def test_failures_by_recipe(cli: Cli, mixed: str) -> None:
    groups = {g["value"]: g for g in cli("failures", mixed, "--by", "recipe", "--json").json["groups"]}
    assert groups["by hand"]["failed"] == 24
    assert groups["by hand"]["share"] == 0.8
    assert groups["refine"]["failed"] == 0
    assert re.search(
        r"by hand +30 +24 +80\.0% +broken_by_critique", cli("failures", mixed, "--by", "recipe").out
    )


@pytest.mark.parametrize("columns", [80, 140])
def test_failures_names_are_whole_and_on_one_line(
    cli: Cli, mixed: str, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    document = cli("failures", mixed, "--by", "task", "--json").json
    names = [group["value"] for group in document["groups"]]
    assert max(map(len, names)) == 24
    lines = cli("failures", mixed, "--by", "task").out.splitlines()[2:]
    assert lines[0].split() == ["task", "trees", "failed", "share", "mostly", "for", "example"]
    assert [line.split()[0] for line in lines[1:]] == names
    assert max(map(len, lines)) <= columns


@pytest.mark.parametrize(
    ("by", "value"), [("task", 1), ("model", "scripted"), ("stop", "max_rounds"), ("tag", "fixture")]
)
def test_failures_by_other_things(cli: Cli, mixed: str, by: str, value: Any) -> None:
    document = cli("failures", mixed, "--by", by, "--json").json
    assert document["by"] == by
    values = [group["value"] for group in document["groups"]]
    assert len(values) > 1 if by == "task" else value in values


def test_a_tag_that_a_task_has_twice_counts_once(cli: Cli) -> None:
    g = Grown(Task.of("x", tags=("math", "math")))
    end(g, g.attempt(answer="41"), "nobody", "exhausted")
    keep("tags.db", [g.tree])
    (group,) = cli("failures", "tags.db", "--by", "tag", "--json").json["groups"]
    assert (group["value"], group["trees"]) == ("math", 1)


def test_the_trees_of_a_cause(cli: Cli, mixed: str) -> None:
    ended = cli("failures", mixed, "--cause", "unparsed")
    assert ended.out.startswith("3 trees with cause unparsed\n")
    assert "unreadable-samples" in ended.out
    listed = cli("failures", mixed, "--cause", "unparsed", "--json").json["listed"]
    assert {entry["cause"] for entry in listed} == {"unparsed"}
    assert all(entry["task"] and entry["task"] in ended.out for entry in listed)
    narrowed = cli("failures", mixed, "--recipe", "once", "--json").json
    assert (narrowed["trees"], narrowed["groups"][0]["example"]) == (1, "nested")
    assert cli("failures", mixed, "--recipe", "once", "--cause", "unparsed").out.startswith("0 trees")


def test_a_task_is_known_by_its_first_line(cli: Cli) -> None:
    g = Grown(Task.of("\nName a river.\nIt must not be long.", id="rivers"))
    end(g, g.attempt(answer="Rhine"), "nobody", "exhausted")
    keep("rivers.db", [g.tree])
    for options in ([], ["--by", "task"], ["--cause", "unknown"]):
        text = cli("failures", "rivers.db", *options).out
        assert "Name a river." in text
        assert "It must" not in text


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--by", "mood"], "--by 'mood' is not known. It takes cause, recipe, task"),
        (["--cause", "mood"], "--cause 'mood' is not known. It takes never_found, "),
        (["--recipe", "mood"], "holds no tree of recipe 'mood'"),
    ],
)
def test_failures_says_what_it_takes(cli: Cli, mixed: str, options: list[str], told: str) -> None:
    ended = cli("failures", mixed, *options)
    assert ended.code == 2
    assert told in " ".join(ended.clean.replace("hint: ", "").split())


# -- show ------------------------------------------------------------------------------------------


def test_steps_that_the_text_tells_already_take_one_line() -> None:
    g = Grown()
    said = "Line 1: right\nLine 2: wrong"
    steps = [Step(index=0, verdict=Verdict.PASS, text="right"), Step(index=1, verdict=Verdict.FAIL, score=0.25)]
    for text in (said, "No."):
        g.say(g.attempt(answer=text), verdict=Verdict.FAIL, text=text, steps=tuple(steps))
    told, untold = (node.feedback[0].details for node in outline(g.tree).nodes)
    assert told == ("steps: 1 pass, 2 fail 0.25",)
    assert untold == ("step 1: pass: right", "step 2: fail 0.25")


def test_show_tells_the_whole_story(cli: Cli, mixed: str) -> None:
    out = cli("show", mixed, "broken-by-a-remark").out
    for part in (
        "broken_by_critique",
        "✗ attempt 3  wrong  ★ chosen  after 2",
        '-   "鸡": 22,',
        '+   "鸡": 21,',
        "[late]",
    ):
        assert part in out


def test_show_zooms_into_an_attempt_with_its_calls(cli: Cli, mixed: str) -> None:
    zoomed = cli("show", mixed, "refine", "--attempt", "2").out
    assert (
        zoomed
        == cli("show", mixed, "refine", "--attempt", "refine.2").out
        == cli("show", mixed, "refine.2").out
    )
    assert "call refine.c3  actor/0/solver  scripted  ok" in zoomed
    assert "call refine.c1" not in zoomed
    assert "system: You are actor/0/solver." in zoomed
    ended = cli("show", mixed, "refine", "--attempt", "9")
    assert ended.code == 2
    assert "tree 'refine' has no attempt '9'. " in ended.clean.replace("\nhint: ", " ")
    assert "Its attempts are refine.1 to refine.2" in ended.err


def test_show_cuts_what_is_long_and_says_so(cli: Cli) -> None:
    g = Grown("\n".join(f"line {n}" for n in range(100)), tree="long")
    for _ in range(30):
        g.attempt(answer="word " * 1000)
    keep("long.db", [g.tree])
    out = " ".join(cli("show", "long.db").out.split())
    assert "… 86 more lines (--full)" in out
    assert "… 3,800 more characters (--full)" in out
    assert "… 10 more attempts, from long.21 on (--attempt shows one, --full all)" in out
    full = cli("show", "long.db", "--full").out
    assert "line 99" in full
    assert "(--full)" not in full
    assert "attempt 30" in full


def test_show_as_json_is_exact(cli: Cli) -> None:
    g = Grown(tree="exact")
    g.attempt(answer="\x1b[31m42")
    keep("exact.db", [g.tree])
    document = cli("show", "exact.db", "--json").json
    assert document["items"][0]["answer"] == "\x1b[31m42"
    assert document["why"]["cause"] == "unfinished"
    assert document["attempts"] == 1


# -- hostile text ----------------------------------------------------------------------------------

EVIL = (
    '<script>alert(1)</script><img src=x onerror=alert(2)>" onload="x \' </pre></details></style>'
    " [red]markup[/red] [link=http://evil]x[/link] \x1b[31mansi\x1b]8;;http://evil\x07 \x9b2J"
    " \u202eevil\u2066 {{7*7}} {% raw %} &amp;"
)


def hostile() -> Tree:
    g = Grown(EVIL, tree="hostile")
    first = g.attempt(answer=EVIL + "\nsame")
    said = g.say(
        first, author=EVIL, verdict=Verdict.FAIL, score=0.25, text=EVIL, suggestion=EVIL, data={EVIL: EVIL}
    )
    g.say(first, author=EVIL, text=EVIL, subject=Subject(feedback=said))
    second = g.attempt(first, answer={EVIL: [EVIL]}, text=EVIL)
    accepts(g, second, EVIL)
    g.attempt(second, status="failed", error=EVIL, error_code="model")
    end(g, second, EVIL, "accepted", stop_text=EVIL)
    user_says(g, second, 0.0, EVIL)
    return g.tree


@pytest.mark.parametrize("options", [[], ["--full"], ["--attempt", "1"], ["--attempt", "2", "--full"]])
def test_no_text_reaches_the_terminal_as_a_command(cli: Cli, options: list[str]) -> None:
    keep("hostile.db", [hostile()])
    for ended in (cli("show", "hostile.db", *options), cli("why", "hostile.db"), cli("failures", "hostile.db")):
        assert ended.code == 0
        assert not set(ended.out + ended.err) & set("\x1b\x9b\x07\u202e\u2066")
    assert "[red]markup[/red]" in cli("show", "hostile.db", *options).out, "markup is text"


def test_colours_come_from_us_alone() -> None:
    from critic_loop.render.text import page as drawn

    console = Console(record=True, force_terminal=True, width=100, file=io.StringIO())
    console.print(drawn(outline(hostile()), full=True))
    text = console.export_text(styles=True)
    assert "\x1b[31mansi" not in text
    assert "\x1b]8" not in text


class Seen(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: dict[str, set[str]] = {}
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag != "meta":
            self.open.append(tag)
        for name, value in attrs:
            self.attributes.setdefault(name, set()).add(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def seen(html: str) -> Seen:
    parser = Seen()
    parser.feed(html)
    parser.close()
    assert parser.open == []
    return parser


@pytest.mark.parametrize("name", ["hostile", *ALL, *HAND])
def test_pages_hold_nothing_but_our_own_markup(name: str) -> None:
    tree = hostile() if name == "hostile" else {**ALL, **HAND}[name]()
    html = page(outline(tree))
    found = seen(html)
    assert not found.tags & {"script", "img", "link", "iframe", "object", "form", "base"}
    allowed = {"lang", "charset", "http-equiv", "content", "name", "class", "href", "id", "dir", "aria-label"}
    assert set(found.attributes) <= allowed
    assert all(href.startswith("#") for href in found.attributes["href"])
    assert not set(html) & set("\x1b\x9b\x07\u202e\u2066")
    assert "49" not in re.findall(r"evil.{0,20}", html)
    policy = next(c for c in found.attributes["content"] if "default-src" in c)
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy


def test_pages_link_only_to_what_is_on_them() -> None:
    g = Grown()
    last: tuple[str, ...] = ()
    for number in range(60):
        last = (g.attempt(*last, answer=str(number)),)
        cannot_judge(g, last[0], "no tests")
    end(g, last[0], "nobody", "exhausted")
    for shown in (outline(g.tree, most=3), outline(g.tree, attempt="t.20")):
        found = seen(page(shown)).attributes
        assert {href[1:] for href in found["href"]} <= set(found["id"])
        assert "t.f60" in page(shown), "what is not on the page is named all the same"
    found = seen(page(outline(g.tree))).attributes
    assert {"#t.60", "#t.f60"} <= set(found["href"])


def test_the_style_is_the_one_that_the_policy_allows() -> None:
    import base64
    import hashlib

    html = page(outline(ALL["refine"]()))
    style = html.partition("<style>")[2].partition("</style>")[0]
    assert base64.b64encode(hashlib.sha256(style.encode()).digest()).decode() in html
    assert "http" not in style
    assert "url(" not in style


def test_every_link_of_a_page_leads_somewhere() -> None:
    for tree in (hostile(), ALL["multi-critique"](), HAND["broken-one-branch"]()):
        found = seen(page(outline(tree)))
        assert {href[1:] for href in found.attributes["href"]} <= found.attributes["id"]


def test_a_page_is_written_to_a_file(cli: Cli, mixed: str) -> None:
    ended = cli("show", mixed, "chinese", "--html", "tree.html")
    assert ended.code == 0
    assert ended.out == ""
    assert "tree.html shows tree chinese." in ended.err
    html = Path("tree.html").read_text("utf-8")
    for part in (
        "鸡23只",
        "<ins>",
        "<del>",
        'id="chinese.2"',
        "solved",
        "<details>",
        "[image" if False else "call ",
    ):
        assert part in html
    nowhere = cli("show", mixed, "chinese", "--html", "none/tree.html")
    assert nowhere.code == 1
    assert "none/tree.html" in nowhere.clean


def test_a_page_of_a_huge_tree_is_cut(cli: Cli) -> None:
    g = Grown(tree="huge")
    for number in range(300):
        rejects(g, g.attempt(answer=str(number)))
    keep("huge.db", [g.tree])
    cli("show", "huge.db", "--html", "some.html")
    cli("show", "huge.db", "--html", "all.html", "--full")
    assert Path("some.html").read_text("utf-8").count("<article") == 200
    assert "100 more attempts" in Path("some.html").read_text("utf-8")
    assert Path("all.html").read_text("utf-8").count("<article") == 300


def test_json_and_html_at_once(cli: Cli, mixed: str) -> None:
    ended = cli("show", mixed, "image", "--json", "--html", "image.html")
    assert json.loads(ended.out)["tree"] == "image"
    assert "[image: image/png, 73 bytes, sha256 97a3a410c9bc]" in Path("image.html").read_text("utf-8")


def test_show_draws_a_tree(cli: Cli, mixed: str, tmp_path: Path) -> None:
    ended = cli("show", mixed, "rethink-mcts", "--svg", "tree.svg")
    assert (ended.code, ended.out) == (0, "")
    assert "tree.svg shows tree rethink-mcts." in ended.err
    whole = (tmp_path / "tree.svg").read_text("utf-8")
    assert whole.startswith("<svg xmlns=")
    cli("show", mixed, "rethink-mcts", "--svg", "tree.svg", "--attempt", "5")
    assert "Attempt 4:" in whole
    assert "Attempt 4:" not in (tmp_path / "tree.svg").read_text("utf-8")
