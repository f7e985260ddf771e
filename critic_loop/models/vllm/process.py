"""A server's process: started under a supervisor, output in a file, stopped with all that it started.

Knows processes and files. Does not know what the server serves. Everything here blocks.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock

_SUPERVISOR = (sys.executable, "-I", "-S", str(Path(__file__).with_name("supervisor.py")))
GRACE_S = 10.0
"""How long a server may take to end when it is asked to."""
_TAIL_BYTES = 16_384


class Process:
    """A command that runs until it is stopped, dies, or this process ends in any way."""

    def __init__(
        self, command: Sequence[str], *, environment: Mapping[str, str], log: Path, secret: str = ""
    ) -> None:
        """Start it.

        Args:
            command: what is run, in a process group of its own.
            environment: all of its variables.
            log: a file to which its output is appended.
            secret: what is not shown of its output.

        Raises:
            OSError: the file cannot be written.
        """
        self.log = log
        self._secret = secret
        self._from = log.stat().st_size if log.exists() else 0
        with log.open("ab") as output:
            self._supervisor = subprocess.Popen(  # noqa: S603  # no shell: the command of the settings
                [*_SUPERVISOR, str(GRACE_S), *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                start_new_session=True,
            )
        self._lock = Lock()

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._supervisor.poll() is None

    @property
    def exit_code(self) -> int | None:
        """What it ended with, above 128 for a signal; None while it runs."""
        return self._supervisor.poll()

    def report(self) -> str:
        """Return how it ended, if it did, where its output is, and the end of that."""
        code = "" if self.exit_code is None else f" with code {self.exit_code}"
        return f"{code}; log: {self.log}\n{self.last_lines()}\n"

    def last_lines(self, count: int = 12) -> str:
        """Return the end of its output."""
        with suppress(OSError), self.log.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(self._from, end - _TAIL_BYTES))
            said = file.read().decode(errors="replace")
            lines = (said.replace(self._secret, "[key]") if self._secret else said).splitlines()
            return "\n".join([line.rstrip() for line in lines if line.strip()][-count:])
        return ""

    def ask_to_end(self) -> None:
        """Ask it to end, without waiting."""
        with self._lock, suppress(OSError):
            if self._supervisor.stdin is not None and not self._supervisor.stdin.closed:
                self._supervisor.stdin.close()

    def stop(self) -> None:
        """End it and all that it started; return when they have ended."""
        self.ask_to_end()
        try:
            self._supervisor.wait(GRACE_S + 5.0)
        except subprocess.TimeoutExpired:
            self._supervisor.kill()
            self._supervisor.wait()


class Watch:
    """Ends processes that this one has started, should it die without doing so."""

    def __init__(self, pids: Sequence[int]) -> None:
        """Begin to watch over them."""
        line = [*_SUPERVISOR, str(GRACE_S), "--watch", *map(str, pids)]
        self._supervisor = subprocess.Popen(line, stdin=subprocess.PIPE, start_new_session=True)  # noqa: S603  # no shell

    def end(self) -> None:
        """Watch no more; they have ended."""
        self._supervisor.kill()
        self._supervisor.wait()
        if self._supervisor.stdin is not None:
            self._supervisor.stdin.close()


def free_port() -> int:
    """Return a loopback port that is free at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
