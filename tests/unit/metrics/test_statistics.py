"""Intervals and tests: published values, and what must hold whatever the numbers are."""

import itertools
import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from critic_loop.metrics import auc, bootstrap, clustered, estimate, mcnemar, paired, wilson
from tests.work import lines_run


def tasks(*values):
    return {
        str(number): list(each) if isinstance(each, tuple) else [each] for number, each in enumerate(values)
    }


# -- shares ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hits", "total", "interval"),
    [
        (81, 263, (0.2553, 0.3662)),
        (15, 148, (0.0624, 0.1605)),
        (0, 20, (0.0, 0.1611)),
        (1, 29, (0.0061, 0.1718)),
    ],
)
def test_wilson_gives_the_values_of_newcombe_1998(hits, total, interval):
    """Table I, method 3 (score, no continuity correction)."""
    assert wilson(hits, total) == pytest.approx(interval, abs=5e-5)


def test_wilson_of_eight_in_ten():
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=5e-5)
    assert wilson(45, 100) == pytest.approx((0.3561, 0.5476), abs=1e-4)


counts = st.integers(1, 500).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total)))


@given(counts)
def test_wilson_holds_the_share_within_its_bounds_and_is_symmetric(counted):
    hits, total = counted
    low, high = wilson(hits, total)
    assert 0 <= low <= hits / total <= high <= 1
    assert wilson(total - hits, total) == pytest.approx((1 - high, 1 - low), abs=1e-12)
    wider = wilson(hits, total, confidence=0.99)
    assert wider[0] <= low <= high <= wider[1]


def test_wilson_covers_as_often_as_it_says():
    """Averaged over true shares, exactly, from the binomial's probabilities."""
    covered = 0.0
    for share in (0.1, 0.3, 0.5, 0.8):
        for hits in range(41):
            low, high = wilson(hits, 40)
            if low <= share <= high:
                covered += math.comb(40, hits) * share**hits * (1 - share) ** (40 - hits) / 4
    assert covered == pytest.approx(0.95, abs=0.015)


def test_of_nothing_anything_may_hold_and_nonsense_is_refused():
    assert wilson(0, 0) == (0.0, 1.0)
    for hits, total in ((3, 2), (-1, 2)):
        with pytest.raises(ValueError, match="are no share"):
            wilson(hits, total)
    with pytest.raises(ValueError, match="a confidence lies between 0 and 1"):
        wilson(1, 2, confidence=95)


# -- clustered ---------------------------------------------------------------------------------------

SLEEP = (1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4)
"""Extra hours of sleep, a drug against another (Student 1908): the mean is 1.58, with 95 % 0.70 to 2.46."""


def test_single_samples_give_students_interval():
    found = clustered(tasks(*SLEEP))
    assert (found.mean, found.low, found.high) == pytest.approx((1.58, 0.7001, 2.4599), abs=5e-4)


def test_repeating_what_a_task_said_is_no_evidence():
    once, often = clustered(tasks(*SLEEP)), clustered(tasks(*((hours,) * 7 for hours in SLEEP)))
    assert (often.low, often.high) == pytest.approx((once.low, once.high))
    assert (often.tasks, often.samples) == (10, 70)


def test_it_covers_where_samples_of_a_task_are_alike_and_a_naive_interval_does_not():
    rng, covered, naive = random.Random(2), 0, 0
    for _ in range(400):
        levels = [rng.gauss(0, 1) for _ in range(12)]
        values = tasks(*(tuple(level + rng.gauss(0, 0.3) for _ in range(5)) for level in levels))
        found = clustered(values)
        covered += found.low <= 0 <= found.high
        flat = list(itertools.chain.from_iterable(values.values()))
        naive += abs(found.mean) <= 1.96 * statistics.stdev(flat) / math.sqrt(len(flat))
    assert covered / 400 == pytest.approx(0.95, abs=0.03)
    assert naive / 400 < 0.75


@pytest.mark.parametrize(
    ("freedom", "quantile"), [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (30, 2.042)]
)
def test_few_tasks_give_wide_intervals(freedom, quantile):
    """Two-sided 95 % points of Student's t, as tabled."""
    values = [1.0, -1.0] * freedom
    found = clustered(tasks(*values[: freedom + 1]))
    error = statistics.stdev(values[: freedom + 1]) / math.sqrt(freedom + 1)
    assert (found.high - found.low) / 2 / error == pytest.approx(quantile, rel=2e-3)


def test_what_cannot_be_estimated():
    with pytest.raises(ValueError, match="needs two tasks"):
        clustered({"a": [1.0, 0.0]})
    with pytest.raises(ValueError, match="task 'b' has no samples"):
        clustered({"a": [1.0], "b": []})
    with pytest.raises(ValueError, match="no task"):
        estimate({})


def test_the_interval_that_fits():
    assert (estimate(tasks(1.0, 1.0, 0.0)).low, estimate(tasks(1.0, 1.0, 0.0)).high) == wilson(2, 3)
    assert estimate(tasks(1.0, 0.5)) == clustered(tasks(1.0, 0.5))
    assert estimate(tasks((1.0, 0.0))).low == -math.inf


# -- two loops ---------------------------------------------------------------------------------------

MICE = (94, 197, 16, 38, 99, 141, 23)
"""Days that treated mice survived (Efron and Tibshirani 1993, table 2.1); table 2.2 has the mean's error."""


def test_the_bootstrap_gives_the_standard_error_of_efron_and_tibshirani():
    means = bootstrap(MICE, resamples=20_000)
    assert statistics.stdev(means) == pytest.approx(23.36, rel=0.02)
    assert means == sorted(means)


def test_the_same_seed_gives_the_same_interval():
    ours, theirs = tasks(1.0, 1.0, 0.0, 1.0), tasks(0.0, 1.0, 0.0, 0.0)
    assert paired(ours, theirs) == paired(ours, theirs)
    assert bootstrap(MICE, resamples=9, seed=1) != bootstrap(MICE, resamples=9, seed=2)


def test_a_paired_difference_counts_what_it_says():
    ours = {"a": [1.0], "b": [1.0], "c": [0.0], "d": [1.0], "only ours": [1.0]}
    theirs = {"a": [0.0], "b": [1.0], "c": [1.0], "d": [0.0], "only theirs": [1.0]}
    found = paired(ours, theirs)
    assert (found.tasks, found.ours, found.theirs, found.difference) == (4, 0.75, 0.5, 0.25)
    assert (found.better, found.worse, found.mcnemar_p) == (2, 1, 1.0)


values = st.lists(st.floats(-9, 9), min_size=1, max_size=8)
two_sides = st.lists(st.tuples(values, values), min_size=1, max_size=8)


@given(two_sides)
def test_swapping_the_sides_turns_the_sign(sides):
    ours, theirs = tasks(*(tuple(a) for a, _ in sides)), tasks(*(tuple(b) for _, b in sides))
    one, other = paired(ours, theirs, resamples=50), paired(theirs, ours, resamples=50)
    assert (other.difference, other.better, other.worse) == pytest.approx(
        (-one.difference, one.worse, one.better)
    )
    assert (other.low, other.high) == pytest.approx((-one.high, -one.low), abs=1e-9)
    assert one.low - 1e-9 <= one.high


@given(values)
def test_a_loop_against_itself_makes_no_difference(each):
    found = paired(tasks(*each), tasks(*each), resamples=20)
    assert (found.difference, found.low, found.high) == (0.0, 0.0, 0.0)


def test_pairing_takes_out_how_hard_tasks_are():
    """The same gain over tasks of very different worth: the paired interval is that of the gain's noise."""
    rng = random.Random(3)
    hardness = [rng.gauss(0, 10) for _ in range(200)]
    gains = [rng.gauss(0.5, 1) for _ in hardness]
    found = paired(tasks(*(h + g for h, g in zip(hardness, gains, strict=True))), tasks(*hardness))
    assert (found.high - found.low) / 2 == pytest.approx(
        1.96 * statistics.stdev(gains) / math.sqrt(200), rel=0.1
    )


def test_many_samples_of_a_task_have_no_mcnemar():
    assert paired(tasks((1.0, 0.0), 1.0), tasks(0.0, 1.0)).mcnemar_p is None
    assert paired(tasks(0.5, 1.0), tasks(0.0, 1.0)).mcnemar_p is None


def test_nothing_in_common_is_refused():
    with pytest.raises(ValueError, match="no task to look at"):
        paired({"a": [1.0]}, {"b": [1.0]})


def many_tasks(n):
    rng = random.Random(1)
    return [tasks(*(float(rng.random() < p) for _ in range(n))) for p in (0.6, 0.5)]


def test_the_work_of_a_comparison_grows_no_faster_than_its_tasks():
    def compare(ours, theirs):
        paired(ours, theirs, resamples=50)

    few, many = (lines_run(compare, *many_tasks(n)) for n in (250, 1_000))
    assert many < 1.2 * 4 * few


def test_of_many_tasks_the_difference_is_certain():
    found = paired(*many_tasks(2_000))
    assert found.low < 0.1 < found.high
    assert found.mcnemar_p is not None
    assert found.mcnemar_p < 1e-6


def test_mcnemar_is_a_fair_coin_over_the_discordant_pairs():
    assert mcnemar(8, 10) == pytest.approx(0.8145, abs=1e-4)
    assert mcnemar(1, 9) == pytest.approx(2 * 11 / 1024)
    assert mcnemar(10, 0) == pytest.approx(2 / 2**10)
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(5, 5) == 1.0


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_agrees_with_the_binomial_written_out(wins, losses):
    n = wins + losses
    tail = sum(math.comb(n, k) for k in range(min(wins, losses) + 1))
    assert mcnemar(wins, losses) == mcnemar(losses, wins) == pytest.approx(min(1.0, 2 * tail / 2**n))


# -- ranking -----------------------------------------------------------------------------------------


def test_auc_counts_pairs():
    assert auc([0.9, 0.4, 0.4, 0.1], [True, True, False, False]) == pytest.approx(3.5 / 4)
    assert auc([0.9], [True]) == 0.5
    scores = (0.93, 0.87, 0.82, 0.71, 0.64, 0.55, 0.42, 0.33, 0.21, 0.08)
    assert auc(scores, [bool(y) for y in (1, 1, 0, 1, 1, 0, 0, 1, 0, 0)]) == pytest.approx(0.8)
