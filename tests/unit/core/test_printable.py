"""What others wrote is shown, never obeyed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from critic_loop.core.printable import excerpt, printable, without_secrets


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, 你好, é, 👩‍💻, mًا, क्ष", "plain, 你好, é, 👩‍💻, mًا, क्ष"),
        ("a\tb\nc\r\nd", "a\tb\nc\nd"),
        ("\x1b[31mred\x1b[0m", "<U+001B>[31mred<U+001B>[0m"),
        (
            "\x1b]8;;http://evil\x07click\x1b]8;;\x07",
            "<U+001B>]8;;http://evil<U+0007>click<U+001B>]8;;<U+0007>",
        ),
        ("\x9b2J", "<U+009B>2J"),
        ("over\rwritten\x08\x7f\0", "over<U+000D>written<U+0008><U+007F><U+0000>"),
        ("if admin\u202e\u2066# check\u2069", "if admin<U+202E><U+2066># check<U+2069>"),
        ("zero\u200bwidth\ufeff", "zero<U+200B>width<U+FEFF>"),
        ("tag\U000e0041", "tag<U+E0041>"),
        ("so\u00adft\u034f\u180e", "so<U+00AD>ft<U+034F><U+180E>"),
        ("fill\u115f\u1160\u3164\uffa0", "fill<U+115F><U+1160><U+3164><U+FFA0>"),
        ("a\U000e0100b\U000e01ef", "a<U+E0100>b<U+E01EF>"),
        ("line\u2028end", "line<U+2028>end"),
        ("half\ud800", "half<U+D800>"),
    ],
)
def test_what_would_be_obeyed_is_shown(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(shown) == shown


@given(st.text())
def test_nothing_is_left_that_a_terminal_obeys(text: str) -> None:
    shown = printable(text)
    assert not [c for c in shown if (ord(c) < 32 and c not in "\t\n") or 0x7F <= ord(c) < 0xA0]
    shown.encode()


@given(st.text(), st.integers(min_value=1, max_value=50))
def test_an_excerpt_is_one_short_line(text: str, length: int) -> None:
    line = excerpt(text, length)
    assert len(line) <= length
    assert len(line.splitlines()) <= 1


def test_an_excerpt_says_that_it_is_one() -> None:
    assert excerpt("  one\n two ", 10) == "one two"
    assert excerpt("0123456789", 10) == "0123456789"
    assert excerpt("0123456789a", 10) == "012345678…"
    assert excerpt(" " * 100 + "a", 10) == "…"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("chat:m@http://host:8000/v1", "chat:m@http://host:8000/v1"),
        ("chat:m@http://me:hunter2@host/v1?api_key=hunter2", "chat:m@http://…@host/v1?…"),
        ("chat:m@http://me:hun/hunter2@host/v1", "chat:m@http://…@host/v1"),
        ("http://me:hun@hunter2@host", "http://…@host"),
        ("http://me:hun?hunter2@host", "http://…"),
        ("http://host/v1?password=a@hunter2", "http://…"),
        ("http:me:hunter2@host", "http:…@host"),
        ("postgresql://u:hunter2@h/db?password=hunter2", "postgresql://…@h/db?…"),
        ("redis://h/0?password=hunter2", "redis://h/0?…"),
        ("sqlite:////home/me@work/trees.db", "sqlite:////home/me@work/trees.db"),
        ("embedded:countdown", "embedded:countdown"),
    ],
)
def test_addresses_are_shown_without_secrets(address: str, shown: str) -> None:
    assert without_secrets(address) == shown
    assert "hunter2" not in shown
