"""Calls of native code in a process of its own, bounded in CPU time and memory.

A PDF page can keep PDFium busy for ever, crash it, or make it take all memory there is; no check between pages
helps then. The child is forked once and serves call after call; where it dies, the next call gets a new one.
"""

from __future__ import annotations

import builtins
import ctypes
import faulthandler
import io
import os
import pickle
import resource
import signal
import struct
from collections.abc import Callable
from typing import Any, TypeVar

from pretrain_data.isolate import limit_memory

T = TypeVar("T")

#: CPU seconds beyond a call's own limit, which it looks at between pages.
GRACE = 5.0
_PR_SET_PDEATHSIG = 1
_HEAD = struct.Struct("<q")


class Ended(Exception):
    """The process died in a call: of the limit of CPU time where `hung`, else of a fault or of its memory."""

    def __init__(self, message: str, hung: bool) -> None:
        super().__init__(message)
        self.hung = hung


class Confined:
    """Functions called in a child that may take `memory` bytes more than this process has."""

    def __init__(self, memory: int) -> None:
        self.memory = memory
        self._child: tuple[int, int, int, int] | None = None  # its number, its maker's, our pipe ends

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_child": None}

    def call(self, function: Callable[..., T], *args: Any, limit: float, **named: Any) -> T:
        """What `function` returns or raises within `limit` CPU seconds and a grace. Raises Ended where it doesn't."""
        if self._child is None or self._child[1] != os.getpid():
            self._child = self._fork()
        child, _, into, out = self._child
        try:
            _send(into, (function, args, named, limit + GRACE))
            good, result = _Answer(_received(out)).load()
        except (EOFError, BrokenPipeError):
            self._child = None
            os.close(into)
            os.close(out)
            _, status = os.waitpid(child, 0)
            raise _ended(status, limit) from None
        if good:
            return result  # type: ignore[no-any-return]
        raise result

    def close(self) -> None:
        """End the child; the next call makes another."""
        if self._child is not None and self._child[1] == os.getpid():
            child, _, into, out = self._child
            os.close(into)
            os.close(out)
            os.waitpid(child, 0)
        self._child = None

    def _fork(self) -> tuple[int, int, int, int]:
        theirs, into = os.pipe()
        out, ours = os.pipe()
        parent = os.getpid()
        child = os.fork()
        if child:
            os.close(theirs)
            os.close(ours)
            return child, parent, into, out
        try:
            os.close(into)
            os.close(out)
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() == parent:
                faulthandler.disable()  # its death is foreseen; nobody needs a trace of it
                resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
                limit_memory(self.memory)
                _serve(theirs, ours)
        finally:
            os._exit(0)


def _serve(source: int, target: int) -> None:
    while True:
        try:
            # From the parent, whom the child may trust; not the other way round.
            function, args, named, seconds = pickle.Unpickler(_received(source)).load()
        except EOFError:
            return
        used = resource.getrusage(resource.RUSAGE_SELF)
        soft = int(used.ru_utime + used.ru_stime + seconds) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))
        try:
            answer = (True, function(*args, **named))
        except MemoryError:
            os._exit(1)
        except Exception as error:
            answer = (False, error)
        _send(target, answer)


def _send(pipe: int, value: Any) -> None:
    block = memoryview(pickle.dumps(value, pickle.HIGHEST_PROTOCOL))
    os.write(pipe, _HEAD.pack(len(block)))
    while block:
        block = block[os.write(pipe, block[: 1 << 20]) :]


def _received(pipe: int) -> io.BytesIO:
    size = _HEAD.unpack(_exactly(pipe, _HEAD.size))[0]
    return io.BytesIO(_exactly(pipe, size))


class _Answer(pickle.Unpickler):
    """Reads what the child says, which a hostile PDF may have taken over: values, our own types and exceptions."""

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("pretrain_data.") or (module, name) == ("datetime", "date"):
            found = super().find_class(module, name)
            if isinstance(found, type):
                return found
        known = getattr(builtins, name, None) if module == "builtins" else None
        if isinstance(known, type) and issubclass(known, Exception):
            return known
        raise pickle.UnpicklingError(f"{module}.{name} is no answer")


def _exactly(pipe: int, size: int) -> bytes:
    parts: list[bytes] = []
    while size:
        part = os.read(pipe, min(size, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _ended(status: int, limit: float) -> Ended:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number == signal.SIGXCPU:
            return Ended(f"no end within {limit:g} CPU seconds", hung=True)
        return Ended(f"killed by {signal.Signals(number).name}", hung=False)
    return Ended("out of memory", hung=False)
