"""What is said of an answer such as `1.5 km`: two verifiers, which loops obey, and a grader, which measures."""

import math
from dataclasses import dataclass
from typing import Any

from critic_loop.core import Feedback, Verifier, View, grader, verifier
from critic_loop_units.units import measure

VERSION = "critic-loop-units 2.1"


@dataclass(frozen=True)
class Quantity:
    """Compares the answer with `task.checks[name]`, in whatever unit either is written."""

    tolerance: float = 1e-6
    name: str = "quantity"
    steps: bool = False
    pairs: bool = False

    async def verify(self, view: View[Any]) -> Feedback:
        """Pass what is equal; of anything else say which kind it should be, or how far off it is."""
        wanted = measure(str(view.task.checks.get(self.name, "")))
        if wanted is None:
            return Feedback.abstain("nothing to compare with", data={"lacks": f"checks.{self.name}"})
        found = measure(str(view.answer))
        if found is None or found.kind != wanted.kind:
            return Feedback.failed(f"name a {wanted.kind} with its unit", produced_by=VERSION)
        if math.isclose(found.amount, wanted.amount, rel_tol=self.tolerance):
            return Feedback.passed(produced_by=VERSION)
        way = "too much" if found.amount > wanted.amount else "too little"
        return Feedback.failed(f"that is {way}", produced_by=VERSION)


quantity: Verifier = Quantity()


@verifier(name="unit")
def has_unit(view: View[Any]) -> bool:
    """Pass answers that name a unit."""
    return measure(str(view.answer)) is not None


@grader
def measured(view: View[Any]) -> bool:
    """Compare the answer with what was measured, which no loop may read."""
    return measure(str(view.answer)) == measure(str(view.task.held_out["measured"]))
