"""Puts a finished stage in its place in one step, so that readers see all of it or what was before."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import uuid
from pathlib import Path

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def publish(staged: Path, final: Path) -> None:
    """Make the folder `staged` the folder `final`; what was there is removed afterwards.

    On Linux file systems that can exchange two names (ext4, xfs, btrfs, tmpfs, overlayfs) there is no
    moment without a whole `final`. Elsewhere two renames follow each other at once, and a reader
    that falls between them finds no folder, never a half one.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    if not final.exists():
        os.rename(staged, final)
        return
    if _exchange(staged, final):
        shutil.rmtree(staged)
        return
    aside = final.with_name(f".{final.name}.{uuid.uuid4().hex}")
    os.rename(final, aside)
    os.rename(staged, final)
    shutil.rmtree(aside)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names in one step (renameat2(2)); False where the system can't."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    if renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(code, os.strerror(code), str(other))
