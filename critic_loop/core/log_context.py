"""What log lines say of where they were written: structlog's context, bound where structlog is in use.

Importing structlog costs a tenth of a second. A program that does not log with it does not pay for it.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext


def log_context(**fields: str) -> AbstractContextManager[object]:
    """Return a context in which structlog's lines carry `fields`; an empty one if structlog is not loaded."""
    if "structlog" not in sys.modules:
        return nullcontext()
    from structlog.contextvars import bound_contextvars

    return bound_contextvars(**fields)
