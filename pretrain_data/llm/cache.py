"""Answers on disk, appended one by one and synced before anybody sees them.

    FOLDER/answers-00000.jsonl     one line an answer: key, answer
    FOLDER/answers-00001.jsonl     the next run's

A process writes a file of its own, so that a line torn by a crash is never written after. Only keys and places are held
in memory (about 100 bytes an answer).
"""

from __future__ import annotations

import json
import os
import re
import threading
from pathlib import Path
from typing import Any

import xxhash

from pretrain_data.errors import InputError
from pretrain_data.llm.endpoint import Answer

_NAME = re.compile(r"answers-(\d{5,})\.jsonl")


class AnswerCache:
    """All answers that were ever paid for in this folder; safe to use from many threads.

    A line that can't be read (torn, or changed since: each carries a checksum) counts as `broken` and its answer is
    as good as never given. Two processes may share a folder; neither sees what the other adds meanwhile.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.broken = 0
        #: Tokens of all answers here, as the endpoint counted them.
        self.tokens = 0
        self._places: dict[str, tuple[Path, int, int]] = {}
        self._lock = threading.Lock()
        self._file: Any = None
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(folder.iterdir()):
            if _NAME.fullmatch(path.name):
                self._index(path)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def _index(self, path: Path) -> None:
        at = 0
        with path.open("rb") as file:
            for line in file:
                record = _read(line)
                if record is None:
                    self.broken += 1
                elif record["key"] not in self._places:
                    self._places[record["key"]] = (path, at, len(line))
                    self.tokens += record["answer"]["prompt_tokens"] + record["answer"]["completion_tokens"]
                at += len(line)

    def get(self, key: str) -> Answer | None:
        """The answer to the question of this key, None where it was never answered."""
        place = self._places.get(key)
        if place is None:
            return None
        path, at, length = place
        with path.open("rb") as file:
            file.seek(at)
            record = _read(file.read(length))
        if record is None or record["key"] != key:
            raise InputError(f"{path}: changed at byte {at} since it was opened; move the file away and run again")
        return Answer(**record["answer"])

    def put(self, key: str, answer: Answer) -> None:
        """Write the answer; it is on the disk when this returns."""
        payload = json.dumps({"key": key, "answer": answer.record()}, ensure_ascii=False, sort_keys=True)
        line = f"{xxhash.xxh3_64_hexdigest(payload.encode())} {payload}\n".encode()
        with self._lock:
            if key in self._places:
                return
            if self._file is None:
                self._file = self._own_file()
            at = self._file.tell()
            try:
                self._file.write(line)
                self._file.flush()
                os.fsync(self._file.fileno())
            except OSError:
                self._file = None  # half a line may stand there: the next answer begins a file of its own
                raise
            self._places[key] = (Path(self._file.name), at, len(line))
            self.tokens += answer.tokens

    def _own_file(self) -> Any:
        """A file that no other process writes; its name is on the disk as well."""
        numbers = [int(m[1]) for p in self.folder.iterdir() if (m := _NAME.fullmatch(p.name))]
        number = max(numbers, default=-1) + 1
        while True:
            try:
                file = (self.folder / f"answers-{number:05d}.jsonl").open("xb")
                break
            except FileExistsError:
                number += 1
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return file

    def close(self) -> None:
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def __enter__(self) -> AnswerCache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _read(line: bytes) -> dict[str, Any] | None:
    """The record of a line, None where it isn't whole."""
    mark, _, payload = line.rstrip(b"\n").partition(b" ")
    if not line.endswith(b"\n") or xxhash.xxh3_64_hexdigest(payload).encode() != mark:
        return None
    record: dict[str, Any] = json.loads(payload)
    return record
