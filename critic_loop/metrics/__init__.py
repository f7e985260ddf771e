"""What trees say about how it went: pure functions, trees in, findings out. No models, no stores."""

from critic_loop.metrics.cause import FAILURES, Cause, Evidence, Why
from critic_loop.metrics.comparison import (
    Cost,
    CurvePoint,
    Run,
    by_task,
    curve,
    equal_cost,
    found_within,
    run_of,
)
from critic_loop.metrics.statistics import (
    Difference,
    Estimate,
    auc,
    bootstrap,
    clustered,
    estimate,
    mcnemar,
    paired,
    wilson,
)
from critic_loop.metrics.why import why

__all__ = [
    "FAILURES",
    "Cause",
    "Cost",
    "CurvePoint",
    "Difference",
    "Estimate",
    "Evidence",
    "Run",
    "Why",
    "auc",
    "bootstrap",
    "by_task",
    "clustered",
    "curve",
    "equal_cost",
    "estimate",
    "found_within",
    "mcnemar",
    "paired",
    "run_of",
    "why",
    "wilson",
]
