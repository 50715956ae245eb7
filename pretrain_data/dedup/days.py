"""Days of a corpus: the `dt=` partitions of its shards, in order. An earlier day is decided before a later one."""

from __future__ import annotations

from collections.abc import Container, Set
from itertools import groupby, takewhile
from typing import NamedTuple

from pretrain_data.errors import InputError
from pretrain_data.stage import Shard


class Day(NamedTuple):
    """The shards of one partition; those without one make up the day ""."""

    name: str
    shards: tuple[Shard, ...]


def day_of(name: str) -> str:
    """The partition that a shard's name begins with."""
    return name.rpartition("/")[0]


def days(shards: tuple[Shard, ...]) -> list[Day]:
    """The days in order. Raises InputError where the shards are not in the order of days."""
    found = [Day(name, tuple(group)) for name, group in groupby(shards, lambda shard: day_of(shard.name))]
    names = [day.name for day in found]
    if names != sorted(set(names)):
        raise InputError(
            "dedup.incremental: the input's shards are not in the order of their days: " + ", ".join(names[:20])
        )
    return found


def settled(found: list[Day], unchanged: Container[str], gone: Set[str]) -> int:
    """How many days, from the first on, are decided as before: nothing in them or before them has changed.

    `gone` are shards of the last commit that the input lacks now; their day begins what must be decided again,
    since documents were dropped for theirs.
    """
    first_gone = min((day_of(name) for name in gone), default=None)

    def same(day: Day) -> bool:
        return (first_gone is None or day.name < first_gone) and all(s.name in unchanged for s in day.shards)

    return len(list(takewhile(same, found)))
