"""Quantities with units: `quantity` and `unit` as verifiers, `measured` as a grader, `Converter` as a tool."""

from critic_loop_units.converter import Converter
from critic_loop_units.judging import Quantity, has_unit, measured, quantity

__all__ = ["Converter", "Quantity", "has_unit", "measured", "quantity"]
