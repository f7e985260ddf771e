"""Whether the calls of a job obey its swaps: the rule of `when`, read from the trees alone."""

from collections import Counter

from critic_loop.core.records import Ask, Call, Event


def check_swaps(trees, plan, slot="critic"):
    """Check the revision of every call to `slot` against the swap events before it in its tree.

    A swap for calls holds for each later call; one for attempts for calls of attempts that began after it; one
    for trees for trees that began after it. A tree without an event has one revision.

    Args:
        trees: of a job.
        plan: the `when` of each swap; the first makes revision 1.
        slot: what was swapped.

    Returns:
        How many calls kept an earlier revision, by the `when` of the last swap before them.
    """
    events, kept = set(), Counter()
    for tree in trees:
        records = list(enumerate(tree.log))
        asked = {record.attempt: at for at, record in records if isinstance(record, Ask)}
        calls = [(at, record) for at, record in records if isinstance(record, Call) and record.slot == slot]
        swaps = [(at, record.data) for at, record in records if is_swap(record, slot)]
        events.update((data["revision"], data["when"]) for _, data in swaps)
        first = swaps[0][1]["old_revision"] if swaps else calls[0][1].revision
        for at, call in calls:
            began = {"call": at, "attempt": asked[call.place.subject[0]], "tree": min(asked.values())}
            before = [(swapped_at, data) for swapped_at, data in swaps if swapped_at < at]
            held = [data["revision"] for swapped_at, data in before if began[data["when"]] > swapped_at]
            due = held[-1] if held else first
            said = [(data["revision"], data["when"]) for _, data in before]
            assert call.revision == due, (
                f"{call.id} has revision {call.revision}, not {due}, after swaps {said}"
            )
            if before and due != before[-1][1]["revision"]:
                kept[before[-1][1]["when"]] += 1
    assert events == set(enumerate(plan, start=1)), "each swap is on record with its `when`"
    return kept


def is_swap(record, slot):
    return isinstance(record, Event) and record.kind == "swap" and record.data["slot"] == slot
