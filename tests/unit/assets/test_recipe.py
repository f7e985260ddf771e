import json
import tomllib
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from critic_loop.assets import Library, Recipe
from critic_loop.assets.problems import explain
from critic_loop.assets.recipe import CriticUse, Field_, SearchUse, SelectUse, Shown_
from critic_loop.core.errors import AssetError


def toml(value):
    """Write plain data as TOML, tables inline."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(toml(v) for v in value) + "]"
    return json.dumps(value)


def as_toml(recipe):
    data = recipe.model_dump(mode="json", exclude_none=True)
    return "\n".join(f"{key} = {toml(value)}" for key, value in data.items())


def broken(**data):
    with pytest.raises(ValidationError) as caught:
        Recipe.model_validate({"search": {"kind": "refine"}, **data})
    return explain(caught.value)


names = st.text("abcdefghij-_/.", min_size=1, max_size=12)
fields = st.lists(st.sampled_from(get_args(Field_)), unique=True).map(tuple)
shown = st.lists(st.sampled_from(get_args(Shown_)), unique=True).map(tuple)
settings = st.dictionaries(
    names, st.integers(-99, 99) | st.booleans() | names | st.floats(-1e6, 1e6), max_size=3
)
rules = st.sampled_from(
    [{"verified": True}, {"max_rounds": 3}, {"plateau": {"rounds": 2}}, {"spent": {"calls": 9}}]
)
recipes = st.builds(
    Recipe,
    name=names,
    description=st.text("abc \"'\\\n", max_size=20),
    search=st.lists(st.builds(SearchUse, kind=names, settings=settings), min_size=1, max_size=3).map(tuple),
    critics=st.lists(st.builds(CriticUse, agent=names, sees=fields, slot=st.none() | names), max_size=2).map(
        tuple
    ),
    verifiers=st.lists(names, max_size=2).map(tuple),
    judge=st.none() | names,
    show=shown,
    memory=st.sampled_from(["full", "last", "rejected"]),
    select=names | st.builds(SelectUse, kind=names, settings=settings),
    stop=st.none() | st.lists(rules, max_size=3).map(tuple),
    lanes=st.integers(1, 99),
    max_calls=st.integers(1, 99),
)


@given(recipes)
def test_a_recipe_goes_through_toml_unchanged(recipe):
    read = Recipe.model_validate(tomllib.loads(as_toml(recipe)))
    assert read == recipe
    assert read.digest == recipe.digest


@pytest.mark.parametrize("name", sorted(Library().recipes()))
def test_bundled_recipes_go_through_toml_unchanged(name, tmp_path):
    recipe = Library().recipe(name)
    (tmp_path / f"{name}.toml").write_text(as_toml(recipe))
    assert Library().recipe(str(tmp_path / f"{name}.toml")) == recipe


def test_a_search_may_be_one_table_or_several_with_its_settings_beside_its_kind():
    one = Recipe.model_validate({"search": {"kind": "sample", "n": 8}})
    assert one.search == (SearchUse(kind="sample", settings={"n": 8}),)
    two = Recipe.model_validate({"search": [{"kind": "sample", "n": 8}, {"kind": "refine"}]})
    assert two.search == (SearchUse(kind="sample", settings={"n": 8}), SearchUse(kind="refine"))
    assert Recipe(search=two.search) == two


def test_a_selection_is_a_name_or_a_table_with_its_settings_beside_its_kind():
    named = Recipe.model_validate({"search": {"kind": "refine"}, "select": {"kind": "majority"}})
    assert named.select == "majority"
    table = Recipe.model_validate({"search": {"kind": "refine"}, "select": {"kind": "b4", "alpha": 10}})
    assert table.selection == SelectUse(kind="b4", settings={"alpha": 10})
    assert Recipe.model_validate(table.model_dump(mode="json")) == table
    assert Recipe(search=table.search, select=SelectUse(kind="majority")).digest == named.digest
    assert len({r.digest for r in (named, table, table.model_copy(update={"select": "b4"}))}) == 3


def test_no_stop_rules_and_the_usual_ones_differ():
    usual = Recipe.model_validate({"search": {"kind": "refine"}})
    none = Recipe.model_validate({"search": {"kind": "refine"}, "stop": []})
    assert usual.stop is None
    assert none.stop == ()
    assert usual.digest != none.digest


def test_the_digest_is_of_all_but_the_name():
    recipe = Library().recipe("refine")
    assert recipe.model_copy(update={"name": "x"}).digest == recipe.digest
    for change in ({"show": ("text",)}, {"memory": "last"}, {"actor": "actor/writer"}, {"critics": ()}):
        assert recipe.model_copy(update=change).digest != recipe.digest


def test_settings_that_came_later_leave_the_digest_of_a_recipe_without_them_as_it_was():
    """Trees that were begun before critics had shadows are still resumed."""
    recipe = Recipe.model_validate({"search": {"kind": "refine"}, "critics": [{"agent": "critic/stepwise"}]})
    assert recipe.digest == "984b757482f0c21bef0b23aa"
    for later in ({"shadow": True}, {"escalate": {"slot": "hosted"}}):
        critics = (CriticUse.model_validate({"agent": "critic/stepwise", **later}),)
        assert recipe.model_copy(update={"critics": critics}).digest != recipe.digest


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"serch": {}}, "unknown key 'serch'."),
        ({"critics": [{"agent": "a", "see": []}]}, "unknown key 'critics.0.see'."),
        ({"critics": [{"agent": "a", "weight": 2}]}, "unknown key 'critics.0.weight'."),
        (
            {"critics": [{"agent": "a", "when": "never"}]},
            "key 'critics.0.when': Input should be 'always', 'unverified' or",
        ),
        ({"search": []}, "key 'search': Tuple should have at least 1 item"),
        ({"search": "refine"}, "key 'search': Input should be a valid tuple, not 'refine'."),
        ({"search": [{"n": 8}]}, "key 'search.0.kind': Input should be a valid string"),
        ({"search": ["refine"]}, "key 'search.0': "),
        ({"lanes": 0}, "key 'lanes': Input should be greater than or equal to 1, not '0'."),
        ({"show": ["verdikt"]}, "key 'show.0': Input should be 'verdict', 'score'"),
        ({"show": ["text", "answer"]}, "key 'show.1': Input should be 'verdict', 'score'"),
        ({"show": ["rejected"]}, "key 'show.0': Input should be 'verdict', 'score'"),
        ({"select": 3}, "key 'select': a selection is a name, or a table such as { kind = 'b4', alpha = 10 }"),
        ({"select": {"alpha": 3}}, "key 'select': a selection is a name, or a table such as"),
        ({"stop": [{"max_round": 3}]}, "key 'stop': there is no stop rule 'max_round'; there are"),
        ({"stop": [{"max_rounds": "x"}]}, "key 'stop': stop rule 'max_rounds', setting 'rounds'"),
    ],
)
def test_what_is_wrong_is_said_with_its_key(data, message):
    said = broken(**data)
    assert said.startswith(message)
    assert said.endswith(".")
    assert ".," not in said


def test_an_actor_may_be_shown_all_that_a_critic_may_but_for_what_memory_decides():
    assert set(get_args(Field_)) - set(get_args(Shown_)) == {"answer", "rejected"}


def test_a_missing_search_is_said():
    with pytest.raises(ValidationError) as caught:
        Recipe.model_validate({})
    assert explain(caught.value) == "key 'search': Field required."


def test_files_are_named(tmp_path):
    path = tmp_path / "x.toml"
    path.write_text('search = { kind = "refine" }\nlane = 3\n')
    with pytest.raises(AssetError) as caught:
        Library().recipe(str(path))
    assert str(caught.value) == f"{path}:2: unknown key 'lane'. Did you mean 'lanes'?"
