"""Temporary folders that are deleted with this process, however it ends.

Knows files. Each folder has a file that this process holds locked: the lock ends with the process, so a
later process sees which folders a killed one has left behind, and removes them.
"""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from shutil import rmtree
from weakref import finalize

_PREFIX = "critic-loop-"
_OWNER, _KEPT = ".critic-loop-owner", ".critic-loop-kept"
_KEPT_S = 7 * 86_400.0


class Folder:
    """A folder that is deleted with this object, at the latest with the process."""

    def __init__(self, kind: str) -> None:
        """Create it, and delete what ended processes have left.

        Args:
            kind: a word for its name.
        """
        sweep()
        self.path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{kind}-"))
        lock = _claimed(self.path)
        self.remove = finalize(self, _removed, self.path, lock, os.getpid())
        """Remove it now."""

    def keep(self) -> None:
        """Keep it for a week, so that people can read it."""
        if (held := self.remove.detach()) is not None:
            _, _, (_, lock, _), _ = held
            with suppress(OSError):
                (self.path / _OWNER).unlink(missing_ok=True)
                (self.path / _KEPT).touch()
            if lock is not None:
                os.close(lock)


def sweep() -> None:
    """Delete the folders of ended processes, and those that were kept a week ago."""
    temporary = Path(tempfile.gettempdir())
    for kept in temporary.glob(f"{_PREFIX}*/{_KEPT}"):
        with suppress(OSError):
            if _is_ours(kept.parent) and time.time() - kept.stat().st_mtime > _KEPT_S:
                rmtree(kept.parent, ignore_errors=True)
    for owner in temporary.glob(f"{_PREFIX}*/{_OWNER}"):
        with suppress(OSError):
            if owner.is_symlink() or not _is_ours(owner.parent):
                continue
            lock = os.open(owner, os.O_RDWR)
            try:
                if _locked(lock):
                    rmtree(owner.parent, ignore_errors=True)
            finally:
                os.close(lock)


def _is_ours(folder: Path) -> bool:
    return not folder.is_symlink() and folder.is_dir() and folder.stat().st_uid == os.getuid()


def _claimed(folder: Path) -> int | None:
    """Return the lock of a folder; without one, where the system knows none, it is never swept."""
    path = folder / ".critic-loop-claim"
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
