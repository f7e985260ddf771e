"""What trees say about how it went: pure functions, trees in, findings out. No models, no stores."""

from critic_loop.metrics.truth import Truth, truth_of
from critic_loop.metrics.why import Cause, Evidence, Why, why

__all__ = ["Cause", "Evidence", "Truth", "Why", "truth_of", "why"]
