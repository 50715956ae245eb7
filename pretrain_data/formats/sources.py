"""Input files of any supported kind: what they are, and how they are cut into shards.

The plan depends on the names, sizes and first bytes of the files alone, so that the same input gives the
same shards on any machine. Small files share a shard; a large WARC is cut into byte ranges, each
of which takes the records that begin in it.
"""

from __future__ import annotations

import os
import re
from itertools import pairwise
from typing import Any

from pretrain_data.formats.storage import InputFile, is_url
from pretrain_data.kernels import sourcecode
from pretrain_data.stage import Shard, Unit

#: Format by the end of the name; longer ends are tried first. Code goes by wordlists/programming_languages.yaml.
SUFFIXES = {
    ".warc": "warc",
    ".warc.gz": "warc",
    ".warc.zst": "warc",
    ".arc": "warc",
    ".arc.gz": "warc",
    ".wet": "warc",
    ".wet.gz": "warc",
    ".jsonl": "jsonl",
    ".jsonl.gz": "jsonl",
    ".jsonl.zst": "jsonl",
    ".ndjson": "jsonl",
    ".ndjson.gz": "jsonl",
    ".ndjson.zst": "jsonl",
    ".parquet": "parquet",
    ".pdf": "pdf",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".md": "markdown",
    ".markdown": "markdown",
    ".tex": "latex",
    ".txt": "text",
    ".rst": "text",
}
_LONGEST_FIRST = sorted(SUFFIXES, key=lambda s: (-len(s), s))


def format_of(name: str) -> str | None:
    """The format that a file's name tells, None for a name that tells none."""
    low = name.lower()
    known = next((SUFFIXES[suffix] for suffix in _LONGEST_FIRST if low.endswith(suffix)), None)
    return known or ("code" if sourcecode.language(name) is not None else None)


def cut(
    file: InputFile, label: str, kind: str, shard_bytes: int, columns: tuple[tuple[str, str], ...] = ()
) -> list[tuple[Unit, int]]:
    """A file's units and their sizes in bytes; documents of it are named after `label`."""
    size = file.size
    if kind != "warc" or size <= shard_bytes:
        return [(Unit(file.path, kind, label=label, stamp=file.stamp, columns=columns), size)]
    pieces = -(-size // shard_bytes)
    edges = [size * i // pieces for i in range(pieces + 1)]
    return [
        (Unit(file.path, kind, low, high if high < size else None, label, file.stamp), high - low)
        for low, high in pairwise(edges)
    ]


def file_stamp(unit: Unit) -> list[Any]:
    """What changes with a unit's file: the stamp of a remote one, size and time of change of a local one."""
    if unit.stamp or is_url(unit.path):
        return [unit.stamp]
    stat = os.stat(unit.path)
    return [stat.st_size, stat.st_mtime_ns]


_PARTITION = re.compile(r"(?:^|/)(?:dt|date|crawl_date)=(\d{4}-\d{2}-\d{2})(?=/)")


def partition_of(label: str) -> str:
    """`dt=YYYY-MM-DD` where the path carries such a day (`dt=`, `date=` or `crawl_date=`), else nothing."""
    found = _PARTITION.search(label)
    return f"dt={found[1]}" if found else ""


def pack_by_day(units: list[tuple[Unit, int]], shard_bytes: int) -> list[Shard]:
    """Shards of each day's units on their own, named after the day; units without one come first.

    So a new day's files, or more files in a day, leave the shards of all other days as they were.
    """
    days: dict[str, list[tuple[Unit, int]]] = {}
    for unit, size in units:
        days.setdefault(partition_of(unit.label), []).append((unit, size))
    return [shard for day in sorted(days) for shard in pack(days[day], shard_bytes, f"{day}/part-" if day else "part-")]


def pack(units: list[tuple[Unit, int]], shard_bytes: int, prefix: str = "part-") -> list[Shard]:
    """Units into shards of about `shard_bytes`, in their order."""
    groups: list[list[Unit]] = []
    room = 0
    for unit, size in units:
        if not groups or size > room:
            groups.append([])
            room = shard_bytes
        groups[-1].append(unit)
        room -= size
    return [Shard(f"{prefix}{i:05d}", tuple(group)) for i, group in enumerate(groups)]
