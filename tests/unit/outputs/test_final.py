from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from critic_loop.outputs import final_part, normalised

numbers = st.fractions(max_denominator=1000)


@given(numbers)
def test_a_number_is_equal_to_itself_however_it_is_written(number):
    assert normalised(str(number)) == number
    assert normalised(f"${number}$.") == number
    assert normalised(f"{number.numerator:,}/{number.denominator}") == number


@given(st.decimals(allow_nan=False, allow_infinity=False, places=4))
def test_decimals_and_percents_are_exact(number):
    assert normalised(f"{number:f}") == Fraction(number)
    assert normalised(f"{number:f} %") == Fraction(number) / 100


def test_the_last_part_counts_and_a_box_before_a_line():
    assert final_part("\\boxed{1}\nAnswer: 2") == "1"
    assert final_part("just text") == "just text"


def test_text_is_folded_to_what_matters():
    assert normalised("  **New   York**. ") == "new york"
    assert normalised("答案。") == "答案"
    assert normalised("10²") == "10²"


@pytest.mark.parametrize("text", ["7" * 5000, "1/" + "7" * 5000, "." + "7" * 5000, "7" * 5000 + "%"])
def test_a_number_longer_than_python_reads_is_text(text):
    assert normalised(text) == text


@given(st.text() | st.text("0123456789.,/%+-", max_size=1100))
def test_any_text_has_a_final_part_that_can_be_printed(text):
    assert isinstance(str(normalised(final_part(text))), str)
