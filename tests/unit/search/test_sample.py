from critic_loop.core.protocols import Move, Stop, Wait
from critic_loop.search import ExtraSamples, Sample
from tests.unit.search.worlds import next_move


def test_it_asks_for_n_without_waiting(grown):
    search = Sample(n=3, moves="tests")
    for _ in range(3):
        assert next_move(search, grown) == Move(kind="tests")
        grown.ask()
    assert next_move(search, grown) == Wait()


def test_a_batch_is_one_move_and_the_last_is_what_is_left(grown):
    search, sizes = Sample(n=7, batch=3), []
    while isinstance(move := next_move(search, grown), Move) and len(sizes) < 9:
        sizes.append(move.samples)
        for _ in range(move.samples):
            grown.ask()
    assert sizes == [3, 3, 1]


def test_it_stops_when_all_have_ended_failed_ones_too(grown):
    search = Sample(n=2)
    grown.attempt(answer="1")
    last = grown.ask()
    assert next_move(search, grown) == Wait()
    grown.settle(last, status="failed")
    assert next_move(search, grown) == Stop("exhausted", "2 samples made")


def test_only_roots_count(grown):
    search = Sample(n=2)
    root = grown.attempt(answer="1")
    grown.attempt(root, answer="2")
    grown.say(root, score=0.5)
    assert next_move(search, grown) == Move()


def test_what_is_wanted_also_comes_after_and_no_batch_is_of_two_kinds(grown):
    search, asked = (
        Sample(
            n=3, batch=2, extra_samples=(ExtraSamples(n=3, moves="tests", agent="tester"), ExtraSamples(n=1))
        ),
        [],
    )
    while isinstance(move := next_move(search, grown), Move) and len(asked) < 9:
        asked.append((move.kind, move.agent, move.samples))
        for _ in range(move.samples):
            grown.attempt(kind=move.kind)
    assert asked == [
        ("answer", "actor", 2), ("answer", "actor", 1), ("tests", "tester", 2), ("tests", "tester", 1),
        ("answer", "actor", 1),
    ]  # fmt: skip
    assert move == Stop("exhausted", "7 samples made")
