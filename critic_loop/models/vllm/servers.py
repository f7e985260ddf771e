"""The vLLM servers of this process: one for all models of a name, ended with the process.

Knows names and settings. Does not know what a server does.
"""

from __future__ import annotations

import atexit
from pathlib import Path
from threading import RLock

from critic_loop.core.errors import ConfigError
from critic_loop.models.vllm.server import Server
from critic_loop.models.vllm.settings import Serve

_servers: dict[tuple[type[Server], str], Server] = {}
_servers_lock = RLock()


def server_of(name: str, serve: Serve | None, kind: type[Server] = Server) -> Server:
    """Return the server of a model: one for all of this process that name it.

    Args:
        name: what it serves.
        serve: its settings; None takes those that another model of it has, or none.
        kind: what it is.

    Raises:
        ConfigError: it is in use with other settings.
    """
    with _servers_lock:
        place = (kind, _place(name))
        server = _servers.get(place)
        if server is None:
            server = _servers[place] = kind(name, serve or Serve())
        elif serve is not None and serve != server.serve:
            if server.users.are_there and (server.runs or server.serve != Serve()):
                raise ConfigError(
                    f"The server of {name!r} is named with two different settings.",
                    hint="Give `serve` in one [models.NAME] table, or the same in each.",
                )
            server.serve = serve
        return server


def known_server(name: str) -> Server:
    """Return the server of a model that was named in this process.

    Raises:
        ConfigError: none was.
    """
    with _servers_lock:
        for (_, place), server in _servers.items():
            if place == _place(name):
                return server
        known = ", ".join(sorted(server.name for server in _servers.values())) or "none"
    raise ConfigError(f"No server of {name!r} belongs to this process.", hint=f"There are: {known}.")


def _place(name: str) -> str:
    """Return one name for a folder, however it is written."""
    return str(Path(name).resolve()) if Path(name).is_dir() else name


@atexit.register
def _stop_all() -> None:
    """End what still runs: all at once, then wait for each, so that no port or memory is held afterwards."""
    with _servers_lock:
        servers = list(_servers.values())
    for server in servers:
        server.ask_to_end()
    for server in servers:
        server.stop()
