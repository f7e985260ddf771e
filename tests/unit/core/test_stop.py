import functools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from critic_loop.core import plugins
from critic_loop.core.errors import ConfigError, StopRuleError
from critic_loop.core.progress import Progress, StopReason
from critic_loop.core.records import Spend, Usage, Verdict
from critic_loop.core.rules import AllOf, AnyOf, Rule, as_rule
from critic_loop.core.stop import (
    RULES,
    Accepted,
    Diminishing,
    Elapsed,
    Failing,
    MaxAttempts,
    MaxRounds,
    Plateau,
    Spent,
    Verified,
    limits_money,
    rule_of,
)
from critic_loop.evidence import value_of


class Always(Rule):
    name = "always"

    def __call__(self, progress):
        return StopReason("always", "as always")


class Never(Rule):
    name = "never"

    def __call__(self, progress):
        return None


def observed(grown, *attempts, spend=None):
    progress = Progress(grown.tree)
    for attempt in attempts or grown.tree.attempts:
        progress.observe(attempt, spend or Spend(), value_of(grown.tree, attempt))
    return progress


def fired(rule, progress):
    reason = rule(progress)
    return None if reason is None else reason.name


# -- algebra -----------------------------------------------------------------------------------


def test_either_fires_with_the_first_in_order(grown):
    progress = Progress(grown.tree)
    assert (Never() | Always())(progress) == StopReason("always", "as always")
    assert (Never() | Never())(progress) is None
    grown.verified(grown.attempt(answer="1"), "pass")
    assert fired(Verified() | MaxRounds(1), observed(grown)) == "verified"
    assert fired(MaxRounds(1) | Verified(), observed(grown)) == "max_rounds"


def test_both_fire_only_together_and_say_both(grown):
    progress = Progress(grown.tree)
    assert (Always() & Never())(progress) is None
    assert (Always() & Always())(progress) == StopReason("always+always", "as always; as always")


def test_rules_of_one_kind_are_flat_and_keep_their_order():
    a, b, c = Verified(), Accepted(), MaxRounds(3)
    assert (a | b) | c == a | (b | c) == AnyOf(rules=(a, b, c))
    assert (a & b) & c == a & (b & c) == AllOf(rules=(a, b, c))
    assert (a | b) & c == AllOf(rules=(AnyOf(rules=(a, b)), c))


def test_the_base_is_no_rule(grown):
    with pytest.raises(TypeError, match="Rule is not a rule of its own"):
        Rule()(Progress(grown.tree))


# -- each rule's edge --------------------------------------------------------------------------


def test_verified_needs_every_verifier_that_judged(grown):
    attempt = grown.attempt(answer="1")
    assert fired(Verified(), observed(grown)) is None
    grown.verified(attempt, "pass")
    grown.verified(attempt, "abstain", author="other")
    assert Verified()(observed(grown)) == StopReason("verified", f"attempt {attempt} passed its verifiers")
    grown.verified(attempt, "fail", author="third")
    assert fired(Verified(), observed(grown)) is None


def test_accepted_is_not_an_abstention_and_not_against_evidence(grown):
    attempt = grown.attempt(answer="1")
    grown.say(attempt, verdict="abstain")
    assert fired(Accepted(), observed(grown)) is None
    grown.say(attempt, verdict="pass")
    assert fired(Accepted(), observed(grown)) == "accepted"
    grown.verified(attempt, "fail")
    assert fired(Accepted(), observed(grown)) is None


def test_a_shadow_critic_accepts_nothing(grown):
    grown.say(grown.attempt(answer="1"), verdict="pass", advisory=True)
    assert fired(Accepted(), observed(grown)) is None


def test_max_rounds_counts_the_path_of_the_latest(grown):
    first = grown.attempt(answer="1")
    second = grown.attempt(first, answer="2")
    other = grown.attempt(answer="3")
    assert fired(MaxRounds(2), observed(grown, first)) is None
    assert fired(MaxRounds(2), observed(grown, first, second)) == "max_rounds"
    assert fired(MaxRounds(2), observed(grown, first, second, other)) is None


def test_max_attempts_counts_all(grown):
    for _ in range(3):
        grown.attempt(answer="1")
    assert fired(MaxAttempts(4), observed(grown)) is None
    assert MaxAttempts(3)(observed(grown)) == StopReason("max_attempts", "3 attempts made")


@pytest.mark.parametrize(
    ("scores", "stops"),
    [
        ([0.5, 0.5], False),
        ([0.5, 0.5, 0.5], True),
        ([0.5, 0.4, 0.3], True),
        ([0.5, 0.5, 0.75], False),
        ([0.5, 0.75, 0.75], False),
        ([0.5, 0.75, 0.75, 0.75], True),
        ([0.5, 0.6, 0.7, 0.8], False),
        ([0.2, 0.2, None], False),
        ([None, None, None], False),
    ],
)
def test_plateau_compares_the_best_with_that_of_some_rounds_ago(grown, scores, stops):
    for score in scores:
        attempt = grown.attempt(answer="1")
        if score is not None:
            grown.say(attempt, score=score)
    assert fired(Plateau(rounds=2, gain=0.1), observed(grown)) == ("plateau" if stops else None)


def test_failing_counts_in_a_row_and_names_the_last_error(grown):
    grown.attempt(status="failed", error="first")
    grown.attempt(answer="1")
    grown.attempt(status="failed", error="second")
    assert fired(Failing(2), observed(grown)) is None
    grown.attempt(status="failed", error="third")
    assert Failing(2)(observed(grown)) == StopReason(
        "failing", "2 attempts failed in a row, the last with: third"
    )


def test_elapsed_and_spent_fire_at_their_limit(grown):
    grown.attempt(answer="1")
    spend = Spend(calls=3, usage=Usage(input_tokens=70, output_tokens=30), cost_usd=0.5, elapsed_s=20.0)
    progress = observed(grown, spend=spend)
    assert Elapsed(20)(progress) == StopReason("elapsed", "20 s have passed")
    assert fired(Elapsed(20.1), progress) is None
    assert Spent(tokens=100)(progress) == StopReason("spent", "100 of 100 tokens spent")
    assert Spent(usd=0.5)(progress) == StopReason("spent", "0.5 of 0.5 USD spent")
    assert Spent(usd=9, calls=3)(progress) == StopReason("spent", "3 of 3 calls spent")
    assert Spent(output_tokens=30)(progress) == StopReason("spent", "30 of 30 output tokens spent")
    assert fired(Spent(usd=0.6, tokens=101, output_tokens=31, calls=4), progress) is None


def test_money_that_cannot_be_told_ends_what_limits_it(grown):
    grown.attempt(answer="1")
    reason = Spent(usd=99)(observed(grown, spend=Spend(calls=2)))
    assert reason == StopReason("spent", "what was spent cannot be told: a call has no price")
    assert fired(Spent(usd=0.01), observed(grown, spend=Spend(calls=0))) is None
    assert fired(Spent(calls=9), observed(grown, spend=Spend(calls=2))) is None


@pytest.mark.parametrize("rule", [Spent(usd=1), Spent(usd=1, calls=2) | Verified(), Verified() & Spent(usd=1)])
def test_a_limit_on_money_is_found_wherever_it_stands(rule):
    assert limits_money(rule | Failing())
    assert not limits_money(Spent(tokens=5, calls=3) | (Verified() & Elapsed(3)))


def test_a_verified_attempt_counts_as_the_best_score(grown):
    attempt = grown.attempt(answer="1")
    grown.verified(attempt, "pass")
    assert observed(grown).best_scores == [1.0]


# -- data --------------------------------------------------------------------------------------

counts = st.integers(1, 99)
amounts = st.floats(0.001, 1e6)
rules = st.one_of(
    st.builds(Verified),
    st.builds(Accepted),
    st.builds(MaxRounds, counts),
    st.builds(MaxAttempts, counts),
    st.builds(Plateau, rounds=counts, gain=amounts),
    st.builds(Failing, counts),
    st.builds(Elapsed, amounts),
    st.builds(Spent, tokens=st.none() | counts, output_tokens=st.none() | counts, calls=st.none() | counts),
)
compound = st.recursive(
    rules,
    lambda inner: st.builds(Rule.__or__, inner, inner) | st.builds(Rule.__and__, inner, inner),
    max_leaves=6,
)


def without_null(data):
    if isinstance(data, dict):
        return all(without_null(value) for value in data.values())
    return all(without_null(item) for item in data) if isinstance(data, list) else data is not None


@given(compound)
def test_a_dumped_rule_reads_back_the_same(rule):
    assert rule_of(rule.dump()) == rule
    assert without_null(rule.dump())  # TOML has no null


def test_every_rule_is_known_by_its_name():
    assert RULES.keys() == {
        r.name for r in Rule.__subclasses__() if r.__module__ == "critic_loop.core.stop"
    } - {"any", "all", "function"}


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        ({"verified": True}, Verified()),
        ({"max_rounds": 4}, MaxRounds(4)),
        ([{"max_rounds": 4}], MaxRounds(4)),
        ([{"verified": True}, {"max_rounds": 4}], Verified() | MaxRounds(4)),
        ({"all": [{"accepted": True}, {"max_attempts": 2}]}, Accepted() & MaxAttempts(2)),
        ({"plateau": True}, Plateau()),
        ({"plateau": {"gain": 0.1}}, Plateau(gain=0.1)),
        ({"plateau": 5}, Plateau(rounds=5)),
        ({"spent": {"calls": 5}}, Spent(calls=5)),
        ({"spent": {}}, Spent()),
        ({"elapsed": 20}, Elapsed(20.0)),
    ],
)
def test_recipe_data_is_read(data, rule):
    assert rule_of(data) == rule


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            {"max_round": 4},
            "there is no stop rule 'max_round'; there are accepted, diminishing, elapsed, failing",
        ),
        ({"max_rounds": 4, "verified": True}, "a table with one key"),
        ([], "a table with one key"),
        ("verified", "a table with one key"),
        ({"all": []}, "there is no stop rule 'all'"),
        ({"all": "x"}, "there is no stop rule 'all'"),
        ({"max_rounds": True}, "stop rule 'max_rounds', setting 'rounds': Field required"),
        ({"max_rounds": "four"}, "stop rule 'max_rounds', setting 'rounds': .*valid integer"),
        ({"max_rounds": 0}, "greater than or equal to 1"),
        ({"elapsed": 0}, "stop rule 'elapsed', setting 's': .*greater than 0"),
        ({"plateau": {"round": 2}}, r"stop rule 'plateau' has no setting 'round'; it has rounds, gain\."),
        ({"verified": {"by": "me"}}, r"stop rule 'verified' has no setting 'by'; it has none\."),
        ({"verified": False}, r"stop rule 'verified' is written \{ verified = true \}, not False"),
        ({"spent": False}, "greater than 0"),
    ],
)
def test_what_is_wrong_in_a_recipe_is_said(data, message):
    with pytest.raises(ConfigError, match=message):
        rule_of(data)


# -- plain functions ---------------------------------------------------------------------------


def tired(progress):
    return progress.judged >= 2


def bored(progress):
    return "nothing new" if progress.judged >= 2 else ""


not_a_rule = 3
rounds = Verified() | MaxRounds(3)
patient = functools.partial(tired)


class Moody:
    def __call__(self, progress):
        return None

    def at_times(self, progress):
        return True


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (True, StopReason("answered")),
        ("enough", StopReason("answered", "enough")),
        (StopReason("mine", "because"), StopReason("mine", "because")),
        (False, None),
        ("", None),
        (None, None),
    ],
)
def test_a_function_answers_with_a_reason_a_text_or_a_bool(grown, answer, reason):
    def answered(progress):
        return answer

    assert as_rule(answered)(Progress(grown.tree)) == reason


def test_a_function_stands_on_either_side_of_both_operators(grown):
    for either in (tired | MaxRounds(9), MaxRounds(9) | tired, AnyOf(rules=(tired, MaxRounds(9)))):
        assert isinstance(either, AnyOf)
        assert set(either.rules) == {as_rule(tired), MaxRounds(9)}
    for both in (tired & MaxRounds(9), MaxRounds(9) & tired, AllOf(rules=(tired, MaxRounds(9)))):
        assert isinstance(both, AllOf)
        assert set(both.rules) == {as_rule(tired), MaxRounds(9)}
    assert (tired | Verified() | bored).rules == tuple(map(as_rule, (tired, Verified(), bored)))


def test_functions_fire_among_rules_and_are_named(grown):
    first = grown.attempt(answer="1")
    assert fired(tired | Verified(), observed(grown, first)) is None
    progress = observed(grown, first, grown.attempt(answer="2"))
    assert fired(Verified() | as_rule(tired), progress) == "tired"
    assert (MaxAttempts(2) & bored)(progress) == StopReason(
        "max_attempts+bored", "2 attempts made; nothing new"
    )
    assert (MaxAttempts(2) & tired)(progress) == StopReason("max_attempts+tired", "2 attempts made")


@pytest.mark.parametrize(
    ("function", "name"),
    [(functools.partial(tired), "tired"), (Moody().at_times, "at_times"), (Moody(), "Moody")],
)
def test_what_is_no_plain_def_has_a_name_too(grown, function, name):
    with pytest.raises(ConfigError, match=f"stop rule '{name}' cannot be written as data"):
        as_rule(function).dump()


@pytest.mark.parametrize("answer", [3, 0, 0.5, [], Verdict.PASS, Verified])
def test_any_other_answer_is_an_error_that_says_what_to_return(grown, answer):
    def odd(progress):
        return answer

    with pytest.raises(StopRuleError, match=r"tree 't': stop rule 'odd' returned .* True to stop, and None"):
        as_rule(odd)(Progress(grown.tree))
    with pytest.raises(StopRuleError, match=r"tree 't': stop rule 'odd' returned"):
        (Verified() | odd)(Progress(grown.tree))


@pytest.mark.parametrize("compound", [AnyOf, AllOf])
def test_a_rule_that_raises_is_named(grown, compound):
    def broken(progress):
        return 1 / 0

    class Broken(Rule):
        def __call__(self, progress):
            raise KeyError("x")

    for rule, says in ((broken, "'broken': ZeroDivisionError"), (Broken(), "'Broken': KeyError")):
        with pytest.raises(StopRuleError, match=f"tree 't': stop rule {says}") as caught:
            compound(rules=(rule, Verified()))(Progress(grown.tree))
        assert caught.value.scope == "tree"


async def later(progress):
    return True


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (MaxRounds, r"MaxRounds is a class, not a stop rule. Pass an instance: MaxRounds\(\.\.\.\)"),
        (3, "3 is no stop rule"),
        (None, "None is no stop rule"),
        ([Verified()], "is no stop rule. .* combine rules with | and &"),
        (later, "stop rule 'later' is async"),
    ],
)
def test_what_is_no_rule_is_refused_where_it_is_given(given, says):
    for use in (as_rule, lambda g: Verified() | g, lambda g: g & Verified()):
        with pytest.raises(ConfigError, match=says):
            use(given)


@pytest.mark.parametrize("name", ["tired", "rounds", "patient"])
def test_a_path_in_a_recipe_names_a_function_or_a_rule(name):
    path = f"{__name__}:{name}"
    rule = rule_of([path, {"max_rounds": 4}])
    assert rule == AnyOf(rules=(plugins.load(path), MaxRounds(4)))
    assert rule_of(rule.dump()) == rule
    assert rule_of({"all": [path, {"max_rounds": 4}]}).dump()["all"][-1] == {"max_rounds": 4}


def test_a_function_is_written_by_its_path():
    assert as_rule(plugins.load(f"{__name__}:tired")).dump() == f"{__name__}:tired"
    for function in (lambda progress: True, Moody().at_times):
        with pytest.raises(ConfigError, match=r"written as data: .* does not lead to it\. Define it at"):
            (Verified() | function).dump()


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("nowhere.to.find:it", "cannot import 'nowhere.to.find'"),
        (":it", "not of the form 'package.module:name'"),
        (f"{__name__}:nothing", "has no 'nothing'"),
        (f"{__name__}:not_a_rule", "3 is no stop rule"),
        (f"{__name__}:Moody", "Moody is a class, not a stop rule"),
    ],
)
def test_a_path_that_leads_to_no_rule_is_refused(path, says):
    with pytest.raises(ConfigError, match=says):
        rule_of([path])


# -- gain for cost -----------------------------------------------------------------------------


def spending(grown, scores, calls):
    progress = Progress(grown.tree)
    for score, made in zip(scores, calls, strict=True):
        attempt = grown.attempt(answer=str(made))
        if score is not None:
            grown.say(attempt, score=score)
        progress.observe(attempt, Spend(calls=made), value_of(grown.tree, attempt))
    return progress


@pytest.mark.parametrize(
    ("scores", "calls", "stops"),
    [
        ([0.1, 0.2, 0.3], [1, 2, 3], False),  # 0.1 a call
        ([0.1, 0.2, 0.3], [1, 11, 21], True),  # 0.01 a call: the same gain, dearer
        ([0.1, 0.1, 0.1], [1, 1, 1], False),  # no gain, but for nothing
        ([0.3, 0.1, 0.1], [1, 2, 3], True),
        ([0.1, 0.2], [1, 99], False),  # not enough rounds yet
        ([0.1, None, None], [1, 50, 99], False),  # nobody scores
    ],
)
def test_diminishing_weighs_the_gain_by_its_calls(grown, scores, calls, stops):
    reason = Diminishing(rounds=2, gain=0.05)(spending(grown, scores, calls))
    assert (reason is not None) == stops
    if reason:
        assert (reason.name, reason.text.partition(" in ")[2]) == ("diminishing", "2 rounds")


def test_diminishing_is_read_from_recipe_data():
    assert rule_of({"diminishing": {"rounds": 4, "gain": 0.01}}) == Diminishing(rounds=4, gain=0.01)
