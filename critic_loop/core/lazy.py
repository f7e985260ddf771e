"""Names of a package that load their modules on first use, so that a light name does not load heavy ones.

    if TYPE_CHECKING:
        from critic_loop.search.beam import Beam

    __getattr__ = lazy(__name__, {"beam": ("Beam",)})

Such a name must differ from every module of its package: importing that module would take its place.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def lazy(package: str, homes: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """Return the `__getattr__` of a package.

    Args:
        package: its own name.
        homes: names by the module of the package that has them, as in `{"beam": ("Beam",)}`.
    """
    home_of = {name: home for home, names in homes.items() for name in names}

    def get(name: str) -> Any:
        home = home_of.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(f"{package}.{home}"), name)
        setattr(sys.modules[package], name, value)  # so that this is asked once
        return value

    return get
