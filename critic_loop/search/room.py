"""Where another child may be asked for: kept up to date as records are folded."""

from __future__ import annotations

from critic_loop.search.knobs import Knobs
from critic_loop.search.statistics import ROOT, Statistics


def refresh(knobs: Knobs, state: Statistics, node: int) -> None:
    """Note whether a child may be asked for at the node and those above it, as far as that changed."""
    while node >= ROOT:
        live = _live(state, node)
        wide = live and places(knobs, state, node) > 0
        ready = wide or (live and _any(state.ready, state.children[node]))
        if knobs.widening is None and (state.wide[node], state.ready[node]) == (wide, ready):
            return
        state.wide[node], state.ready[node] = wide, ready
        node = state.parent[node]
        if ready and node >= ROOT and state.ready[node] and knobs.widening is None:
            return


def _live(state: Statistics, node: int) -> bool:
    if state.locked or state.again or state.retired:
        busy = node in state.locked or node in state.again or node in state.retired
        return bool(state.grown[node]) and not busy
    return bool(state.grown[node])


def _any(flags: bytearray, nodes: tuple[int, ...]) -> bool:
    for node in nodes:  # noqa: SIM110  # a generator costs more than what it walks over
        if flags[node]:
            return True
    return False


def places(knobs: Knobs, state: Statistics, node: int) -> int:
    """Return how many more children may be asked for."""
    if state.closed[node]:
        return 0
    taken = len(state.children[node])
    if node in state.placeless:
        taken -= state.placeless[node]
    if node in state.failed:
        taken -= state.failed[node] if node == ROOT else min(state.failed[node], knobs.failures)
    return _allowed(knobs, state, node) - taken


def _allowed(knobs: Knobs, state: Statistics, node: int) -> int:
    if node == ROOT and knobs.roots is not None:
        return knobs.roots
    if knobs.widening is None:
        return knobs.most
    n = state.visits[node] + state.pending[node]
    return min(knobs.most, max(1, int(knobs.widening_k * n**knobs.widening)))
