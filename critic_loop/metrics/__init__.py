"""What trees say about how it went: pure functions, trees in, findings out. No models, no stores."""

from critic_loop.metrics.truth import Truth, says, truth_of
from critic_loop.metrics.why import FAILURES, Cause, Evidence, Why, why

__all__ = ["FAILURES", "Cause", "Evidence", "Truth", "Why", "says", "truth_of", "why"]
