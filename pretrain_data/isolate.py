"""A shard that killed its worker is done in a child process, and its poison found by halving.

A segmentation fault, an endless loop or an allocation without end takes the whole process with it, so the
attempt is made in a fork. Where the fork dies, the rows that had gone in and not come out are
halved, each half tried in a fork of its own, until single documents are left. What dies alone is poison;
where nothing does, the death was somebody else's doing and the attempt is made again.
"""

from __future__ import annotations

import ctypes
import faulthandler
import mmap
import os
import resource
import signal
import struct
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from pretrain_data.dataset import read_shard
from pretrain_data.errors import PretrainDataError
from pretrain_data.formats.storage import size_of
from pretrain_data.poison import Poison
from pretrain_data.stage import Shard, SourceStage, Stage, Unit

#: Deaths that no document can be found for before the shard is given up.
UNEXPLAINED = 3
#: Poisonous documents in one shard before something else must be wrong.
MOST_IN_A_SHARD = 16
#: Formats whose units hold the records that begin between two offsets, so that a piece can be cut in two.
DIVISIBLE = frozenset({"warc"})
#: Formats with one document a file.
SINGLE = frozenset({"pdf", "html", "markdown", "latex", "text", "code", "unknown"})

_OURS = 1  # exit code of a child for errors that are not a document's fault
_RAISED = 2  # ... for an exception; its description comes through the pipe
_PR_SET_PDEATHSIG = 1

Attempt = Callable[[Poison, Callable[[int, int], None]], object]


@contextmanager
def watched(stall_seconds: float) -> Iterator[Callable[[], None]]:
    """End this process when the function given is not called for `stall_seconds`.

    The clock is a thread of the interpreter's that needs no lock of Python's: native code that never returns
    is caught too. Where each thread stood goes to the standard error.
    """
    # Spark's workers replace sys.stderr in places; the file descriptor is always there.
    out = sys.__stderr__ or sys.stderr

    def alive() -> None:
        faulthandler.dump_traceback_later(stall_seconds, exit=True, file=out)

    alive()
    try:
        yield alive
    finally:
        faulthandler.cancel_dump_traceback_later()


def run(stage: Stage[Any], shard: Shard, attempt: Attempt, cause: Exception | None = None) -> None:
    """Make `attempt` in children until one comes through without the shard's poison.

    Raises PretrainDataError where the deaths can't be pinned on single documents, or on too many.
    """
    poison, unexplained = Poison(), 0
    while True:
        with _Progress() as progress:
            fate = _in_child(lambda: attempt(poison, progress.tell), stage)
            inside = progress.inside()
        if fate is None:
            return
        found = _pieces(stage, shard, poison) if isinstance(stage, SourceStage) else _rows(stage, shard, poison, inside)
        if not found:
            unexplained += 1
        poison.rows.update(found.rows)
        poison.pieces.update(found.pieces)
        if unexplained >= UNEXPLAINED or len(poison) > MOST_IN_A_SHARD:
            known = f"{len(poison)} documents were found that do it alone" if poison else "no document does it alone"
            raise PretrainDataError(
                f"stage {stage.name}, shard {shard.name}: its worker fails again and again ({fate}); {known}; "
                "look at the executor's log, its memory and the stage's config"
            ) from cause


# --- finding ----------------------------------------------------------------------------------------


def _rows(stage: Stage[Any], shard: Shard, poison: Poison, inside: tuple[int, int]) -> Poison:
    """The poisonous ones among the rows that were inside the stage when it died."""
    # Numbers among the rows that went in; those strained out before don't count there.
    numbers: list[int] = []
    batches: list[pa.RecordBatch] = []
    read = went_in = 0
    for batch in read_shard(shard):
        for row in range(read, read + batch.num_rows):
            if row in poison.rows:
                continue
            if inside[0] <= went_in < inside[1]:
                numbers.append(row)
                batches.append(batch.slice(row - read, 1))
            went_in += 1
        read += batch.num_rows
        if went_in >= inside[1]:
            break

    def trial(part: range) -> str | None:
        rows = pa.Table.from_batches(batches[part.start : part.stop]).combine_chunks().to_batches()
        return _in_child(lambda: _exhaust(stage, iter(rows), shard), stage)

    return Poison(rows={numbers[i]: fate for i, fate in halve(range(len(numbers)), trial)})


def _pieces(stage: Stage[Any], shard: Shard, poison: Poison) -> Poison:
    """The poisonous pieces of input: single files, single records of files that can be cut."""
    units = poison.without(shard, lambda processed: None).units

    def trial(part: Sequence[Unit]) -> str | None:
        return _in_child(lambda: _exhaust(stage, iter(()), replace(shard, units=tuple(part))), stage)

    found: dict[Unit, str] = {}
    for index, fate in halve(range(len(units)), lambda part: trial(units[part.start : part.stop])):
        unit = units[index]
        if unit.format in DIVISIBLE:
            found |= _records(unit, trial)
        elif unit.format in SINGLE:
            found[unit] = fate
        else:
            raise PretrainDataError(
                f"stage {stage.name}: {unit.path} kills its worker ({fate}) and can't be read in pieces; "
                "leave the file out or cut it into smaller ones"
            )
    return Poison(pieces=found)


def _records(unit: Unit, trial: Callable[[Sequence[Unit]], str | None]) -> dict[Unit, str]:
    """The poisonous records of a file that can be cut, each as the piece of one byte that it begins in."""
    end = unit.end if unit.end is not None else size_of(unit.path)

    def part_trial(part: range) -> str | None:
        return trial([replace(unit, start=part.start, end=part.stop)])

    places = halve(range(unit.start, end), part_trial)
    return {replace(unit, start=place, end=place + 1): fate for place, fate in places}


def halve(part: range, trial: Callable[[range], str | None]) -> Iterator[tuple[int, str]]:
    """Each number of `part` that fails its trial alone, and how; parts that don't fail are not looked into."""
    if not part:
        return
    fate = trial(part)
    if fate is None:
        return
    if len(part) == 1:
        yield part.start, fate
        return
    middle = (part.start + part.stop) // 2
    yield from halve(range(part.start, middle), trial)
    yield from halve(range(middle, part.stop), trial)


def _exhaust(stage: Stage[Any], batches: Iterator[pa.RecordBatch], shard: Shard) -> None:
    faulthandler.disable()  # the first death has left its trace already
    with watched(stage.config.stall_seconds) as alive:
        for _ in stage.process(batches, shard):
            alive()


# --- children ---------------------------------------------------------------------------------------


class _Progress:
    """How many rows went in and came out, in memory shared with a child."""

    def __enter__(self) -> _Progress:
        self.memory = mmap.mmap(-1, 16)
        return self

    def __exit__(self, *exc: object) -> None:
        self.memory.close()

    def tell(self, rows_in: int, rows_out: int) -> None:
        self.memory[:] = struct.pack("qq", rows_in, rows_out)

    def inside(self) -> tuple[int, int]:
        """First and last + 1 of the rows that had gone in and not come out."""
        rows_in, rows_out = struct.unpack("qq", self.memory[:])
        return rows_out, rows_in


def _in_child(work: Callable[[], object], stage: Stage[Any]) -> str | None:
    """Do the work in a fork: None where it came through, else what became of it, without any of the text.

    Raises PretrainDataError where the child met one, or an error of the machine's.
    """
    reader, writer = os.pipe()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        code = 0
        try:
            os.close(reader)
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(_OURS)
            limit_memory(stage.config.isolation_memory_mb << 20)
            work()
        except PretrainDataError as error:
            code = _OURS
            os.write(writer, str(error).encode()[:4000])
        except OSError as error:
            code = _OURS
            os.write(writer, f"{error.filename or error}: {error.strerror}".encode()[:4000])
        except BaseException as error:
            code = _RAISED
            os.write(writer, describe(error).encode()[:4000])
            traceback.print_tb(error.__traceback__)
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read().decode("utf-8", "replace")
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return f"killed by {signal.Signals(os.WTERMSIG(status)).name}"
    match os.WEXITSTATUS(status):
        case 0:
            return None
        case 1 if said:
            raise PretrainDataError(said)
        case 1:  # faulthandler's exit code
            return f"no end within {stage.config.stall_seconds:g} s"
        case _:
            return said


def describe(error: BaseException) -> str:
    """Kind of an exception and where it was raised: its message could quote the text."""
    place = traceback.extract_tb(error.__traceback__)[-1:]
    return type(error).__name__ + "".join(f" in {Path(f.filename).name}, line {f.lineno}" for f in place)


def limit_memory(more: int) -> None:
    """At most `more` bytes of private memory beyond what the process has now."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            limit = (int(line.split()[1]) << 10) + more
            resource.setrlimit(resource.RLIMIT_DATA, (limit, resource.RLIM_INFINITY))
