"""Errors that a person can act on; the command line prints them without a traceback."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class PretrainDataError(Exception):
    """Something the user can mend; the message says what is wrong and what to do."""


class ConfigError(PretrainDataError):
    """The configuration can't be used."""


class InputError(PretrainDataError):
    """An input is missing or isn't what it claims to be."""


class AccountingError(PretrainDataError):
    """Documents in are not documents kept plus documents dropped: a defect, never to be ignored."""


class IntegrityError(PretrainDataError):
    """An output is not as its manifest says."""


class StorageError(PretrainDataError):
    """The workspace can't be written or read: a full disk, a quota, a folder that may not be written."""


class Busy(PretrainDataError):
    """Another run holds the workspace."""


class WorkerDied(PretrainDataError):
    """A Python worker ended without a word: killed, out of memory, or by a fault in native code."""


#: Errors of the operating system that a user can mend, and how.
_WAYS = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "raise the quota",
    errno.EFBIG: "raise the file-size limit",
    errno.EROFS: "mount it for writing",
    errno.EACCES: "see that this user may write there",
    errno.EPERM: "see that this user may write there",
    errno.EIO: "see to the disk",
    errno.ENOENT: "put it back, or leave it out for good",
}


def way_out(error: OSError) -> str | None:
    """What a user can do about an error of the operating system; None where it is no user's affair."""
    if error.errno in (errno.ENOENT, errno.ENOTDIR):  # outside a run nothing was there before
        return "see that the path is right and its folder is there"
    return _WAYS.get(error.errno or 0)


@contextmanager
def storage(folder: Path) -> Iterator[None]:
    """Raise a StorageError, which names file and way out, where the disk under `folder` is full or the like."""
    try:
        yield
    except OSError as error:
        way = _WAYS.get(error.errno or 0)
        if way is None:
            raise
        what = f"{error.filename or folder}: {os.strerror(error.errno or 0)}"
        raise StorageError(f"{what}; {way}, then run again: it goes on with the shards that are not done") from error


_DIED = "Python worker exited unexpectedly"
_ENDS = r"^\S*Error|^\s*SQLSTATE|^\s+at |\Z"
_RAISED = re.compile(rf"^pretrain_data\.errors\.(\w+): (.*?)(?={_ENDS})", re.MULTILINE | re.DOTALL)


@contextmanager
def errors_from_workers() -> Iterator[None]:
    """Raise an error of ours that a Spark worker met as what it is, without Spark's wrapping.

    Raises WorkerDied where a worker didn't live to raise anything, PretrainDataError where the JVM didn't.
    """
    from py4j.protocol import Py4JError, Py4JJavaError
    from pyspark.errors import PySparkException

    try:
        yield
    except (PySparkException, Py4JJavaError) as error:
        if _DIED in str(error):
            raise WorkerDied(
                "a Python worker ended without a word: killed, out of memory, stalled, or by a fault in native code; "
                "the executor's log has more"
            ) from error
        found = _RAISED.findall(str(error))
        if not found:
            raise
        name, message = found[-1]
        raise globals().get(name, PretrainDataError)(message.strip()) from error
    except (Py4JError, ConnectionRefusedError) as error:
        raise PretrainDataError(
            "Spark's JVM ended without a word: killed, or out of memory (spark.driver_memory); "
            "run again: it goes on with what is not done"
        ) from error
