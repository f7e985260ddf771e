"""Temporary folders that go with this process, however it ends.

Knows files. Each folder has a file `owner` that this process holds locked: the lock ends with the process, so a
later process sees which folders a killed one has left behind, and removes them.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from shutil import rmtree
from weakref import finalize

_PREFIX = "critic-loop-"
_OWNER = "owner"


class Folder:
    """A folder that is removed with this object, at the latest with the process."""

    def __init__(self, kind: str) -> None:
        """Make it, and remove what processes that are gone have left.

        Args:
            kind: a word for its name.
        """
        sweep()
        self.path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{kind}-"))
        lock = _claimed(self.path)
        self.remove = finalize(self, _removed, self.path, lock, os.getpid())
        """Remove it now."""

    def keep(self) -> None:
        """Leave it to people: nobody removes it any more."""
        if (held := self.remove.detach()) is not None:
            _, _, (_, lock, _), _ = held
            (self.path / _OWNER).unlink(missing_ok=True)
            if lock is not None:
                os.close(lock)


def sweep() -> None:
    """Remove the folders of processes that are gone."""
    for owner in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/{_OWNER}"):
        with suppress(OSError):
            if owner.is_symlink() or owner.parent.is_symlink() or owner.parent.stat().st_uid != os.getuid():
                continue
            lock = os.open(owner, os.O_RDWR)
            try:
                if _locked(lock):
                    rmtree(owner.parent, ignore_errors=True)
            finally:
                os.close(lock)


def _claimed(folder: Path) -> int | None:
    """Return the lock of a folder; without one, where the system knows none, it is never swept."""
    path = folder / "claim"
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    if not _locked(lock):
        os.close(lock)
        return None
    path.rename(folder / _OWNER)  # locked before it can be found
    return lock


def _locked(file: int) -> bool:
    try:
        import fcntl
    except ImportError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _removed(folder: Path, lock: int | None, process: int) -> None:
    if os.getpid() == process:  # a fork of it ends, too
        rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)
