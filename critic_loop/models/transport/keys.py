"""API keys: from the environment, else from the computer's keyring.

Knows names of variables; stores no key. The keyring is read where the library `keyring` is
installed and the environment has nothing: service `critic-loop`, user = the variable's name. It is
read once in a process, since it may prompt a person.
"""

from __future__ import annotations

import logging
import os
from functools import cache
from importlib import import_module

SERVICE = "critic-loop"
"""What keys are stored under."""
_log = logging.getLogger(__name__)


def key_of(variable: str) -> str:
    """Return the key that a variable names; empty if there is none."""
    if not variable:
        return ""
    return os.environ.get(variable, "").strip() or _from_keyring(variable)


@cache
def _from_keyring(variable: str) -> str:
    try:
        keyring = import_module("keyring")
    except ImportError:
        return ""
    try:
        return str(keyring.get_password(SERVICE, variable) or "").strip()
    except Exception as error:  # noqa: BLE001  # each system's keyring has errors of its own
        _log.warning("The keyring was not read for %s (%s)", variable, type(error).__name__)
        return ""
