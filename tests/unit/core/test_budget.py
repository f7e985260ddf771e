import threading

from hypothesis import given
from hypothesis import strategies as st

from critic_loop.core.budget import Budget, JointLedger, Lease, LocalLedger


def test_calls_are_reserved_until_there_are_none():
    ledger = LocalLedger(Budget(calls=3))
    assert ledger.reserve() == Lease(calls=1, tokens=0)
    assert ledger.reserve(calls=2) == Lease(calls=2, tokens=0)
    assert ledger.reserve() is None
    assert ledger.calls == 3


def test_a_reservation_that_is_too_large_takes_nothing():
    ledger = LocalLedger(Budget(calls=3, tokens=100))
    assert ledger.reserve(calls=4) is None
    assert ledger.reserve(tokens=101) is None
    assert (ledger.calls, ledger.tokens) == (0, 0)
    assert ledger.reserve(calls=3, tokens=100) is not None


def test_settling_gives_back_what_was_not_used():
    ledger = LocalLedger(Budget(calls=1, tokens=100))
    lease = ledger.reserve(tokens=80)
    assert ledger.reserve() is None
    ledger.settle(lease, calls=0, tokens=0)
    lease = ledger.reserve(tokens=80)
    ledger.settle(lease, calls=1, tokens=30)
    assert (ledger.calls, ledger.tokens) == (1, 30)


def test_spent_tokens_end_it_even_where_a_call_reserves_none():
    ledger = LocalLedger(Budget(tokens=50))
    ledger.settle(ledger.reserve(), calls=1, tokens=49)
    lease = ledger.reserve()
    ledger.settle(lease, calls=1, tokens=10)  # more than was left: a call in flight is not cut off
    assert ledger.tokens == 59
    assert ledger.reserve() is None


def test_the_last_token_ends_it():
    ledger = LocalLedger(Budget(tokens=50), tokens=49)
    ledger.settle(ledger.reserve(), calls=1, tokens=1)
    assert ledger.reserve() is None


def test_without_bounds_nothing_ends_and_all_is_counted():
    ledger = LocalLedger(Budget())
    for _ in range(100):
        ledger.settle(ledger.reserve(tokens=5), calls=1, tokens=7)
    assert (ledger.calls, ledger.tokens) == (100, 700)


def test_a_resumed_tree_has_spent_already():
    ledger = LocalLedger(Budget(calls=3), calls=2)
    assert ledger.reserve() is not None
    assert ledger.reserve() is None


def test_many_threads_never_exceed_it():
    ledger, granted = LocalLedger(Budget(calls=500, tokens=2000)), []
    ready = threading.Barrier(8)

    def spend(amount):
        ready.wait()
        for _ in range(200):
            if (lease := ledger.reserve(tokens=amount)) is not None:
                granted.append(lease)
                assert ledger.tokens <= 2000
                assert ledger.calls <= 500

    threads = [threading.Thread(target=spend, args=(1 + n % 3,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.calls == len(granted) == 500
    assert ledger.tokens == sum(lease.tokens for lease in granted) <= 2000


@given(
    st.integers(0, 20),
    st.integers(0, 100),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30), st.booleans(), st.integers(0, 30))),
)
def test_the_ledger_is_what_was_settled_and_what_is_out(calls, tokens, steps):
    ledger = LocalLedger(Budget(calls=calls, tokens=tokens))
    out, used_calls, used_tokens = [], 0, 0
    for want_calls, want_tokens, at_once, really in steps:
        lease = ledger.reserve(calls=want_calls, tokens=want_tokens)
        if lease is None:
            continue
        assert ledger.calls <= calls
        assert ledger.tokens <= max(tokens, used_tokens + sum(x.tokens for x in out) + want_tokens)
        if at_once:
            used = min(really, want_tokens)
            ledger.settle(lease, calls=want_calls, tokens=used)
            used_calls, used_tokens = used_calls + want_calls, used_tokens + used
        else:
            out.append(lease)
        assert ledger.calls == used_calls + sum(x.calls for x in out) <= calls
        assert ledger.tokens == used_tokens + sum(x.tokens for x in out) <= tokens


def test_what_is_spent_from_several_ledgers_fits_each_or_is_not_set_aside_at_all():
    own, shared = LocalLedger(Budget(calls=3)), LocalLedger(Budget(calls=2, tokens=100))
    joint = JointLedger(own, shared)
    first, second = joint.reserve(), joint.reserve()
    assert joint.reserve() is None
    assert (own.calls, shared.calls) == (2, 2)
    joint.settle(first, calls=1, tokens=40)
    joint.settle(second, calls=0, tokens=0)
    assert (own.calls, shared.calls, own.tokens, shared.tokens) == (1, 1, 40, 40)
