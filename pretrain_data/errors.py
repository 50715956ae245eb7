"""Errors that a person can act on; the command line prints them without a traceback."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager


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


class Busy(PretrainDataError):
    """Another run holds the workspace."""


class WorkerDied(PretrainDataError):
    """A Python worker ended without a word: killed, out of memory, or by a fault in native code."""


_DIED = "Python worker exited unexpectedly"
_RAISED = re.compile(r"^pretrain_data\.errors\.(\w+): (.*?)(?=^\S*Error|^\s*SQLSTATE|\Z)", re.MULTILINE | re.DOTALL)


@contextmanager
def errors_from_workers() -> Iterator[None]:
    """Raise an error of ours that a Spark worker met as what it is, without Spark's wrapping.

    Raises WorkerDied where a worker didn't live to raise anything.
    """
    from py4j.protocol import Py4JJavaError
    from pyspark.errors import PySparkException, PythonException

    try:
        yield
    except (PySparkException, Py4JJavaError) as error:
        if _DIED in str(error):
            raise WorkerDied(
                "a Python worker ended without a word: killed, out of memory, stalled, or by a fault in native code; "
                "the executor's log has more"
            ) from error
        if not isinstance(error, PythonException):
            raise
        found = _RAISED.findall(str(error))
        if not found:
            raise
        name, message = found[-1]
        raise globals().get(name, PretrainDataError)(message.strip()) from error
