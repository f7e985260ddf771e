"""Runs a command in a process group of its own, and ends the whole group when standard input ends.

    python -I -S supervisor.py GRACE_S COMMAND ...
    python -I -S supervisor.py GRACE_S --watch PID ...      # ends processes that its parent has started

The parent holds the other end of this program's standard input. The command is stopped when the parent closes
that end or dies in any way, even where a fork of the parent still holds the end. Knows the standard library
alone, and imports nothing of this package.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType

_LOOK_S = 0.1


def main(grace_s: float, command: list[str]) -> int:
    """Run `command` to its end or the end of standard input; return its exit code."""
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = os.getppid()
    if command[0] == "--watch":
        return _watch(grace_s, parent, [int(pid) for pid in command[1:]])
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)  # noqa: S603  # the user's own
    except OSError as error:
        sys.stderr.write(f"{command[0]} cannot be run: {error.strerror}\n")
        return 127
    try:
        while child.poll() is None and _is_kept(parent):
            pass
    finally:
        _end(child, grace_s)
    return child.returncode


def _watch(grace_s: float, parent: int, processes: list[int]) -> int:
    while _is_kept(parent):
        pass
    for number in (signal.SIGTERM, signal.SIGKILL):
        until = time.monotonic() + grace_s
        for process in processes:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(process, number)
        while any(Path("/proc", str(one)).exists() for one in processes) and time.monotonic() < until:
            time.sleep(0.05)
    return 0


def _is_kept(parent: int) -> bool:
    """Wait a moment; return whether who started this still is there and holds the other end."""
    ended = select.select([sys.stdin], [], [], _LOOK_S)[0] and not os.read(sys.stdin.fileno(), 1024)
    return not ended and os.getppid() == parent


def _leave(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


def _end(child: subprocess.Popen[bytes], grace_s: float) -> None:
    """Ask the command to end, then kill what is left of its group: workers may outlive their parent."""
    if child.poll() is None:
        _signal_group(child.pid, signal.SIGTERM)
        until = time.monotonic() + grace_s
        while child.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
    _signal_group(child.pid, signal.SIGKILL)
    child.wait()


def _signal_group(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


if __name__ == "__main__":
    code = main(float(sys.argv[1]), sys.argv[2:])
    sys.exit(code if code >= 0 else 128 - code)
