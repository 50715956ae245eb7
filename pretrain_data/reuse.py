"""Takes over from the previous output the shards that would come out the same.

When a night brings new files, a stage that judges each document by itself need not touch the old ones:
a shard whose maker (config, seed, resources, code) and input are what they were is linked into the
new output, file by file, and only the others are processed. A reader sees no difference, since the
bytes would have been the same.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Container
from pathlib import Path
from typing import Any

from pretrain_data.dataset import Dataset, read_manifest
from pretrain_data.errors import InputError
from pretrain_data.formats.sources import file_stamp
from pretrain_data.hashing import digest
from pretrain_data.writer import write_atomically

#: What came of each shard, one JSON line a shard, beside the manifest.
SHARDS = "_shards.jsonl"
_NEEDED = {"name", "input", "documents_file", "dropped_file"}
#: Of the files that belong to a shard by their name.
SUFFIXES = (".parquet", ".arrow")


def shard_inputs(source: Dataset) -> dict[str, str]:
    """For each shard of `source` a hash that changes when its documents may."""
    if source.manifest is not None:
        return {e["name"]: e["documents_file"]["xxh3"] for e in source.manifest["shards"] if e["documents_file"]}
    inputs = {}
    for shard in source.shards:
        parts: list[list[Any]] = []
        for unit in shard.units:
            parts.append([unit.label or unit.path, unit.format, unit.start, unit.end, *file_stamp(unit)])
        inputs[shard.name] = digest(parts)
    return inputs


def write_shards(folder: Path, entries: list[dict[str, Any]], inputs: dict[str, str]) -> None:
    """Leave with an output what `take_over` of the next run needs."""
    lines = [json.dumps(e | {"input": inputs[e["name"]]}, ensure_ascii=False, sort_keys=True) for e in entries]
    write_atomically(folder / SHARDS, "".join(f"{line}\n" for line in lines))


def changes(final: Path, maker: str, inputs: dict[str, str]) -> tuple[frozenset[str], frozenset[str]]:
    """Which shards of `inputs` are what they were in the output `final`, and which of its shards are gone."""
    before = {entry["name"]: entry for entry in _entries(final, maker)}
    same = {name for name, e in before.items() if inputs.get(name) == e["input"] and _whole(final, e)}
    return frozenset(same), frozenset(before) - frozenset(inputs)


def take_over(
    final: Path, staging: Path, maker: str, inputs: dict[str, str], only: Container[str] | None = None
) -> int:
    """Link what is unchanged (and in `only`) from the output `final` into `staging`; how many shards that were.

    A shard that `staging` has already is left as it is. Of each shard every file named after it is
    taken, in whatever folder a stage put it; folders of a day (`dt=…`) are part of a shard's name.
    """
    folders = [p for p in sorted(final.rglob("*")) if p.is_dir() and "=" not in str(p.relative_to(final))]
    count = 0
    for entry in _entries(final, maker):
        name = entry["name"]
        if only is not None and name not in only:
            continue
        sidecar = staging / "shards" / f"{name}.json"
        if inputs.get(name) != entry.pop("input") or sidecar.exists() or not _whole(final, entry):
            continue
        for folder in folders:
            for suffix in SUFFIXES:
                path = folder / f"{name}{suffix}"
                if path.is_file():
                    _link(path, staging / path.relative_to(final))
        write_atomically(sidecar, json.dumps(entry, ensure_ascii=False, sort_keys=True))
        count += 1
    return count


def linked(final: Path, staging: Path, names: list[str]) -> dict[str, dict[str, Any]]:
    """Size and checksum of those of the files that are one with a file of the output `final`, from its manifest."""
    try:
        manifest = read_manifest(final)
    except InputError:
        return {}
    stamps = manifest.get("files", {}) if manifest else {}
    return {
        name: stamps[name]
        for name in names
        if name in stamps and (final / name).exists() and (final / name).samefile(staging / name)
    }


def _entries(final: Path, maker: str) -> list[dict[str, Any]]:
    """What came of each shard of an output that the same maker made, else nothing."""
    try:
        manifest = read_manifest(final)
    except InputError:
        return []  # a broken manifest vouches for nothing
    if manifest is None or manifest.get("maker") != maker or not (final / SHARDS).is_file():
        return []
    try:
        entries = [json.loads(line) for line in (final / SHARDS).read_bytes().splitlines()]
        return [entry for entry in entries if entry.keys() >= _NEEDED]
    except (ValueError, AttributeError):
        return []  # nor does a broken list of its shards


def _whole(final: Path, entry: dict[str, Any]) -> bool:
    for folder in ("documents", "dropped"):
        file = entry[f"{folder}_file"]
        path = final / folder / f"{entry['name']}.parquet"
        if file is not None and (not path.is_file() or path.stat().st_size != file["bytes"]):
            return False
    return True


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copy2(source, target)
