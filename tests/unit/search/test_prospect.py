"""Where the next step pays most: beginnings that repeat themselves, that have failed, that lead to the same."""

from __future__ import annotations

from collections.abc import Callable
from math import exp
from typing import Any

import pytest

from critic_loop.core.messages import assistant
from critic_loop.core.protocols import Move, Stop, Wait
from critic_loop.core.records import Attempt, Call, Choice, Feedback, Reply, Verdict
from critic_loop.search.driver import Driver
from critic_loop.search.prospect import Position, Prospect, _new, _probability

NextStep = Callable[[str, int], str]


class World(Driver):
    """A loop with a writer of steps: `write(so far, n)` is the n-th step drawn there; `right` ends well."""

    def __init__(
        self,
        search: Prospect,
        next_step: NextStep,
        right: str,
        scores: dict[str, float] | None = None,
        ends_after: int | None = None,
    ) -> None:
        super().__init__(search, "?")
        self.ends_after = ends_after or len(search.succeeds)
        self.next_step, self.right, self.scores = next_step, right, scores or {}
        self.drawn: dict[str, int] = {}

    def run(self, steps: int) -> list[str]:
        """Return what was written, all from the start, until the right answer stands."""
        made: list[str] = []
        for _ in range(steps):
            move = self.ask()
            if not isinstance(move, Move):
                break
            self.begin(move)
            made.append(self.settle(self.in_flight[0]))
            if made[-1] == self.right:
                break
        return made

    def settle(self, attempt_id: str) -> str:
        parents = self.tree.asks[attempt_id].parents
        so_far = self.tree[parents[0]].messages[0].text + " " if parents else ""
        self.drawn[so_far] = self.drawn.get(so_far, 0) + 1
        text = so_far + self.next_step(so_far, self.drawn[so_far])
        ended = len(text.split()) == self.ends_after
        kind, answer = ("answer", text) if ended else ("step", None)
        attempt = Attempt(id=attempt_id, parents=parents, kind=kind, messages=(assistant(text),), answer=answer)
        self.write(attempt)
        if ended:
            verdict = Verdict.PASS if text == self.right else Verdict.FAIL
            self.judge(attempt_id, Feedback(source="verifier", score=self.scores.get(text), verdict=verdict))
        elif text in self.scores:
            self.judge(attempt_id, Feedback(score=self.scores[text]))
        self.fold(attempt)
        return text


def test_as_long_as_beginnings_are_new_whole_answers_are_drawn() -> None:
    world = World(Prospect(succeeds=(0.3, 0.7)), lambda so_far, n: f"{'b' if so_far else 'a'}{n}", "never")
    assert world.run(6) == ["a1", "a1 b1", "a2", "a2 b1", "a3", "a3 b1"]


def test_a_beginning_that_repeats_itself_is_gone_on_from() -> None:
    """One beginning only, drawn again and again: the second step is where anything new is to be had."""
    world = World(Prospect(succeeds=(0.5, 0.5)), lambda so_far, n: f"b{n}" if so_far else "a", "a b6")
    made = world.run(40)
    assert made[-1] == "a b6"
    assert made.count("a") < 12, "repeated draws of the beginning become rarer and rarer"


def test_steps_that_lead_to_the_same_state_are_one_place() -> None:
    search = Prospect(succeeds=(0.5, 0.5), state="=(.*)$")
    world = World(search, lambda so_far, n: f"b{n}" if so_far else f"{n}=same", "never")
    world.run(20)
    assert len({world.state.position_of[i] for i in world.tree.roots}) == 1
    assert {p for ask in world.tree.asks.values() for p in ask.parents} == {"drive-0.1"}


def test_where_one_stands_does_not_depend_on_the_order_of_what_was_done() -> None:
    """Both orders of two steps are one place: only one of them is gone on from."""
    search = Prospect(succeeds=(0.5, 0.9, 0.9), state=r"[xyc]\d*")

    def write(so_far: str, n: int) -> str:
        steps = so_far.split()
        return f"c{n}" if len(steps) == 2 else "xy"[n % 2] if not steps else "x" if steps == ["y"] else "y"

    world = World(search, write, "never")
    world.run(30)
    second = {a.messages[0].text for a in world.tree if world.tree.depth(a.id) == 1}
    assert second == {"x y", "y x"}
    assert len({a.parents[0] for a in world.tree if world.tree.depth(a.id) == 2}) == 1


def test_a_beginning_is_left_where_critics_see_nothing_in_what_follows() -> None:
    """Low scores of second steps are evidence against the first one, though no answer was tried."""
    low = {f"a b{n}": 0.02 for n in range(1, 40)}

    def write(so_far: str, n: int) -> str:
        return f"b{n}" if so_far == "a " else f"c{n}" if so_far else "a" if n == 1 else f"d{n}"

    world = World(Prospect(succeeds=(0.5, 0.5, 0.5)), write, "never", low)
    made = world.run(12)
    assert sum(text.startswith("a b") for text in made) <= 4
    assert any(text.startswith("d") for text in made)


def test_what_is_not_drawn_but_taken_as_it_comes_is_taken_once() -> None:
    """At temperature 0 nothing new is to be had, however unsure the model was of what it wrote."""
    search = Prospect(succeeds=(0.5, 0.99, 0.5), temperatures=(0.8, 0.0, 0.8))
    world = World(search, lambda so_far, n: "abc"[len(so_far.split())], "never")
    world.run(40)
    assert sum(world.tree.depth(attempt.id) == 1 for attempt in world.tree) == 1


def test_a_place_that_was_reached_before_from_elsewhere_is_not_searched_twice() -> None:
    """Two ways to one state at depth two: the last step is only tried below one of them."""
    search = Prospect(succeeds=(0.5, 0.9, 0.9), state=r"=(\w+)$")
    steps: dict[int, NextStep] = {
        0: lambda _, n: f"{n}=s{n % 2}",
        1: lambda _, n: "x=same",
        2: lambda _, n: f"c{n}",
    }
    world = World(search, lambda so_far, n: steps[len(so_far.split())](so_far, n), "never")
    world.run(30)
    below = {world.tree.asks[i].parents[0] for i in world.tree.asks if world.tree.depth(i) == 2}
    assert len(below) == 1


def test_a_critics_word_decides_which_beginning_is_gone_on_from() -> None:
    scores = {"a1": 0.1, "a2": 0.9, "a3": 0.1}
    world = World(
        Prospect(succeeds=(0.4, 0.4)), lambda so_far, n: f"{'b' if so_far else 'a'}{n}", "never", scores
    )
    made = world.run(8)
    assert sum(text.startswith("a2 ") for text in made) > sum(text.startswith("a1 ") for text in made)


def test_a_beginning_that_failed_often_is_left() -> None:
    world = World(Prospect(succeeds=(0.5, 0.9)), lambda so_far, n: f"{'b' if so_far else 'a'}{n}", "a2 b1")
    assert world.run(10) == ["a1", "a1 b1", "a2", "a2 b1"]


def test_lanes_spread_and_the_budget_holds() -> None:
    search = Prospect(n=5, succeeds=(0.5, 0.5), temperatures=(1.0, 0.0))
    world = World(search, lambda so_far, n: f"{'b' if so_far else 'a'}{n}", "never")
    while isinstance(move := world.ask(), Move) and len(world.in_flight) < 9:
        assert (move.kind, move.sampling.temperature if move.sampling else None) == ("step", 1.0)
        world.begin(move)
    assert len(world.in_flight) == 5
    for attempt_id in list(world.in_flight):
        world.settle(attempt_id)
    assert isinstance(world.ask(), Stop)


def test_an_answer_that_ends_early_is_not_gone_on_from() -> None:
    world = World(Prospect(succeeds=(0.9, 0.9, 0.9)), lambda so_far, n: f"a{n}", "never", ends_after=1)
    assert world.run(4) == ["a1", "a2", "a3", "a4"]
    assert not any(ask.parents for ask in world.tree.asks.values())


@pytest.mark.parametrize("succeeds", [(0.0,), (1.0, 0.5), (1.5,)])
def test_shares_that_leave_nothing_to_learn_are_refused(succeeds: tuple[float, ...]) -> None:
    from critic_loop.core.errors import ConfigError
    from critic_loop.search import build

    with pytest.raises(ConfigError, match=r"search 'prospect', setting 'succeeds\.0'"):
        build([("prospect", {"succeeds": list(succeeds)})])


# -- one rule a test -------------------------------------------------------------------------------


def begun(search: Prospect, *moves: Move) -> Driver:
    driver = Driver(search, "?")
    for move in moves:
        driver.begin(move)
    return driver


def step(attempt_id: str, text: str, **fields: Any) -> Attempt:
    return Attempt(id=attempt_id, kind="step", messages=(assistant(text),), **fields)


STEP = Move(kind="step")


def test_n_bounds_the_steps() -> None:
    assert begun(Prospect(n=1)).ask() == STEP
    assert begun(Prospect(n=1), STEP).ask() == Wait()


def test_a_step_that_a_verifier_fails_is_never_gone_on_from() -> None:
    driver = begun(Prospect(), STEP)
    attempt = driver.write(step("drive-0.1", "a"))
    driver.judge(attempt.id, Feedback.failed(source="verifier"))
    driver.fold(attempt)
    assert driver.state.positions[driver.state.position_of[attempt.id]].ended
    assert driver.ask() == STEP


def test_a_failed_attempt_leads_nowhere() -> None:
    driver = begun(Prospect(), STEP)
    driver.fold(driver.write(step("drive-0.1", "a", status="failed")))
    assert list(driver.state.positions) == [""]
    assert driver.state.positions[""].in_flight == 0


def test_a_step_in_flight_counts_as_tried_in_vain() -> None:
    """With a chance of 0.8 for a step, what is known is five times likelier where success is impossible."""
    alone, busy = (begun(Prospect(succeeds=(0.8, 0.5)), *moves).state.positions[""] for moves in ((), (STEP,)))
    assert (alone.trials, busy.trials) == (1.0, pytest.approx(0.2))
    assert busy.gain == pytest.approx(0.2 * alone.gain)


def test_an_answer_of_more_steps_than_were_foreseen_is_left() -> None:
    world = World(Prospect(succeeds=(0.5,)), lambda so_far, n: f"a{n}", "never", ends_after=2)
    assert world.run(4) == ["a1", "a2", "a3", "a4"]


def test_a_place_is_weighed_again_for_all_places_that_lead_to_it() -> None:
    search = Prospect(succeeds=(0.5, 0.5, 0.5), state=r"(\w)$")
    driver = begun(search, STEP, STEP)
    for attempt_id, text in zip(list(driver.in_flight), ("=x", "=y"), strict=True):
        driver.fold(driver.write(step(attempt_id, text)))
    for parent, text in (("drive-0.1", "=x =z"), ("drive-0.2", "=y =z")):
        driver.begin(Move(kind="step", parents=(parent,)))
        driver.fold(driver.write(step(driver.in_flight[0], text, parents=(parent,))))
    shared = driver.state.positions[driver.state.position_of["drive-0.3"]]
    firsts = [driver.state.position_of[f"drive-0.{k}"] for k in (1, 2)]
    assert shared.above == sorted(firsts)
    assert len({driver.state.positions[name].trials for name in firsts}) == 1


def test_served_probabilities_say_how_much_is_new() -> None:
    assert _new(Position(depth=0, possible=1.0, drawn={"x": 1}, probabilities={"a": 0.5, "b": 0.25})) == 0.25
    assert _new(Position(depth=0, possible=1.0, drawn={"x": 1}, probabilities={"a": 1.0})) == 0.001


def test_without_probabilities_what_was_drawn_once_says_how_much_is_new() -> None:
    """Good (1953): one of four draws came once; one more of each is added."""
    assert _new(Position(depth=0, possible=1.0, drawn={"x": 3, "y": 1})) == pytest.approx(2 / 5)


@pytest.mark.parametrize(
    ("logprobs", "likely"),
    [([(-0.5, -0.25)], exp(-0.75)), ([None], None), ([(-0.5,), (-0.25,)], None)],
)
def test_a_step_has_a_probability_where_it_alone_was_served_with_one(logprobs, likely) -> None:
    driver = begun(Prospect(), STEP)
    place = {"subject": ("drive-0.1",), "agent": "actor"}
    driver.tree.append(Call(id="c", place=place, digest="", request=(), binding="", sent_at=0.0))
    choices = tuple(Choice(message=assistant("a"), logprobs=each) for each in logprobs)
    driver.tree.append(Reply(call="c", status="ok", choices=choices, ended_at=0.0))
    assert _probability(driver.tree, driver.write(step("drive-0.1", "a", calls=("c",)))) == likely
