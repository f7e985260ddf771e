"""Text that somebody else wrote, made safe to show: nothing in it can move a cursor or turn a line around.

Knows characters, and where a secret may stand in an address. Does not know where they are shown.
"""

from __future__ import annotations

import re

_HIDDEN = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but tab and new line
    "\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff"  # direction marks, empty spaces
    "\u00ad\u034f\u115f\u1160\u180e\u3164\uffa0\U000e0100-\U000e01ef"  # hyphens, fillers, selectors unseen
    "\u2028\u2029\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f"  # lines, annotations, halves, tags
    "]"
)

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://|(?:https?):/*")


def printable(text: str) -> str:
    r"""Return `text` with all that would be obeyed or hidden, instead of shown, in a visible form.

    An escape character becomes `<U+001B>`; likewise what turns the reading direction or has no width. Tabs,
    new lines and the letters of every script stay; `\r\n` is a new line.
    """
    return _HIDDEN.sub(_shown, text.replace("\r\n", "\n"))


def excerpt(text: str, length: int = 100) -> str:
    """Return the beginning of `text` on one line, printable, of at most `length` characters."""
    line = " ".join(printable(text[: 4 * length]).split())
    cut = len(text) > 4 * length or len(line) > length
    return f"{line[: length - 1]}…" if cut else line


def count(number: int, noun: str) -> str:
    """Return `1 call`, `2 calls`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def without_secrets(address: str) -> str:
    """Return an address, or a spec that ends in one, without user, password and query.

    Rather too much is left out than too little: a password may hold `/`, `?` or another `@`.
    """
    found = _SCHEME.search(address)
    if found is None:
        return address
    before, rest = address[: found.end()], address[found.end() :]
    if found[1] in ("sqlite", "file") and rest.startswith("/"):  # a path, with no place for a password
        user, at, place = "", "", rest
    else:
        user, at, place = rest.rpartition("@")
    if set(user) & set("?#"):  # cannot be told where the password or the query begins
        return f"{before}…"
    shown = re.sub(r"\?.*", "?…", place, flags=re.DOTALL)
    return f"{before}{'…' if at else ''}{at}{shown}"


def _shown(found: re.Match[str]) -> str:
    return f"<U+{ord(found[0]):04X}>"
