"""Trains the tagger of names that comes with the package: an averaged perceptron over hashed features.

python scripts/train_names.py LABELLED.jsonl... --out pretrain_data/models/default/names.safetensors

Each line: {"id", "lang", "text", "spans": [[start, end, "PERSON"], ...]}; other types of spans are ignored. A document
whose id hashes to an odd number is held out: it is measured on and never trained on.
"""

from __future__ import annotations

import argparse
import json
import random
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from safetensors.numpy import save_file

from pretrain_data.kernels.pii import tagger as t

EPOCHS = 8
STOPS = (
    "\n。！？!?;；"  # after these a piece of its own begins: updates by the sentence are steadier than by the document
)
COPIES = 2  # of each labelled document, with other names in the places of its names


def held_out(identity: str) -> bool:
    """Whether a document is for measuring only."""
    return zlib.crc32(identity.encode()) % 2 == 1


def gold(starts: np.ndarray, ends: np.ndarray, m: int, spans: list[list[Any]]) -> np.ndarray:
    """The tag of each unit."""
    tags = np.zeros(m, np.uint8)
    for low, high, _ in spans:
        inside = np.flatnonzero((starts[:m] >= low) & (ends[:m] <= high))
        if inside.size == 1:
            tags[inside] = t.S
        elif inside.size:
            tags[inside] = t.M
            tags[inside[0]], tags[inside[-1]] = t.B, t.E
    return tags


@njit(cache=True)
def _pass(
    places: np.ndarray, golds: np.ndarray, lines: np.ndarray, borders: np.ndarray, order: np.ndarray, w: np.ndarray,
    total: np.ndarray, moves: np.ndarray, moves_total: np.ndarray, clock: int
) -> tuple[int, int]:  # fmt: skip
    """One pass over the documents; returns the clock and the number of wrong units."""
    longest = 0
    for d in range(borders.size - 1):
        longest = max(longest, borders[d + 1] - borders[d])
    scores = np.empty((longest, t.TAGS), np.float32)
    back = np.empty((longest, t.TAGS), np.uint8)
    tags = np.empty(longest, np.uint8)
    wrong = 0
    for d in order:
        low, m = borders[d], borders[d + 1] - borders[d]
        for i in range(m):
            for k in range(t.TAGS):
                scores[i, k] = 0
            for f in range(t.FEATURES):
                for k in range(t.TAGS):
                    scores[i, k] += w[places[low + i, f], k]
            if lines[low + i]:
                for k in range(1, t.TAGS):
                    scores[i, k] = -1e6
        if m == 0:
            continue
        t.viterbi(scores, m, moves, back, tags)
        before_gold = before = t.OUT
        for i in range(m):
            right, said = golds[low + i], tags[i]
            if right != said:
                wrong += 1
                for f in range(t.FEATURES):
                    p = places[low + i, f]
                    w[p, right] += 1
                    w[p, said] -= 1
                    total[p, right] += clock
                    total[p, said] -= clock
            if right != said or before_gold != before:
                moves[before_gold, right] += 1
                moves[before, said] -= 1
                moves_total[before_gold, right] += clock
                moves_total[before, said] -= clock
            before_gold, before = right, said
        clock += 1
    return clock, wrong


def prepare(documents: list[dict[str, Any]]) -> tuple[np.ndarray, ...]:
    """Features, gold tags and line breaks of all units, and where each document begins."""
    table, fold, flags = t.tables()
    all_places, golds, lines, borders = [], [], [], [0]
    mask = (1 << t.TABLE_BITS) - 1
    for document in documents:
        codes = np.array([ord(c) for c in document["text"]], np.uint32)
        size = len(codes) + 8
        starts, ends = np.zeros(size, np.int64), np.zeros(size, np.int64)
        words, heads, tails, shapes, surnames = (np.zeros_like(a) for a in t.scratch(size)[:5])
        end = t.units(codes, len(codes), table, fold, flags, starts, ends, words, heads, tails, shapes, surnames)
        m = end - 2
        places = np.empty((m, t.FEATURES), np.int64)
        for i in range(m):
            t.features(i + 2, words, heads, tails, shapes, surnames, mask, places[i])
        all_places.append(places.astype(np.int32))
        golds.append(gold(starts[2:], ends[2:], m, document["spans"]))
        lines.append(shapes[2:end] == 8)
        at = borders[-1]
        stops = [at + i + 1 for i in range(m - 1) if document["text"][starts[i + 2]] in STOPS]
        borders += [*stops, at + m]
    return np.concatenate(all_places), np.concatenate(golds), np.concatenate(lines), np.array(borders)


def train(documents: list[dict[str, Any]], epochs: int, seed: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """Weights (table, tags) and weights of moves between tags."""
    places, golds, lines, borders = prepare(documents)
    w = np.zeros((1 << t.TABLE_BITS, t.TAGS), np.float32)
    total = np.zeros(w.shape, np.float64)
    moves, moves_total = np.zeros((t.TAGS, t.TAGS), np.float32), np.zeros((t.TAGS, t.TAGS), np.float64)
    clock = 1
    generator = np.random.default_rng(seed)
    for epoch in range(epochs):
        order = generator.permutation(len(borders) - 1)
        clock, wrong = _pass(places, golds, lines, borders, order, w, total, moves, moves_total, clock)
        print(f"epoch {epoch + 1}: {wrong:,} of {len(golds):,} units wrong", flush=True)
    return (w - total / clock).astype(np.float32), (moves - moves_total / clock).astype(np.float32)


def find(text: str, w: np.ndarray, moves: np.ndarray, caution: float = 0.0) -> list[tuple[int, int]]:
    """Spans of names in one text."""
    codes = np.array([ord(c) for c in text], np.uint32)
    size = len(codes) + 8
    starts, ends, tags = np.zeros(size, np.int64), np.zeros(size, np.int64), np.zeros(size, np.uint8)
    m = t.tag(codes, len(codes), t.tables(), w, moves, caution, starts, ends, tags, t.scratch(size))
    out, low = [], 0
    for i in range(m):
        if tags[i] in (t.B, t.S):
            low = int(starts[i])
        if tags[i] in (t.E, t.S):
            out.append((low, int(ends[i])))
    return out


def measure(documents: list[dict[str, Any]], w: np.ndarray, moves: np.ndarray, caution: float = 0.0) -> str:
    """Recall by coverage of nine tenths, precision by half, as figures in a line."""
    hit = n = right = guessed = 0
    for document in documents:
        mine = find(document["text"], w, moves, caution)
        cover = {c for a, b in mine for c in range(a, b)}
        true = {c for a, b, *_ in document["all"] for c in range(a, b)}
        for a, b, _ in document["spans"]:
            n += 1
            hit += sum(c in cover for c in range(a, b)) >= 0.9 * (b - a)
        for a, b in mine:
            guessed += 1
            right += sum(c in true for c in range(a, b)) >= 0.5 * (b - a)
    r, p = hit / max(1, n), right / max(1, guessed)
    return f"recall {r:.4f} precision {p:.4f} F1 {2 * p * r / max(1e-9, p + r):.4f} of {n} names"


def read(paths: list[Path]) -> list[dict[str, Any]]:
    documents = []
    for path in paths:
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            row["all"] = row["spans"]
            row["spans"] = [s for s in row["spans"] if s[2] in ("PERSON", "PER")]
            row["source"] = path.stem
            documents.append(row)
    return documents


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("labelled", nargs="+", type=Path)
    parser.add_argument("--names", type=Path, help="Names to put in the places of others: LANG<TAB>name.")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--caution", nargs="*", type=float, default=[0.0])
    parser.add_argument("--without", nargs="*", default=[], help="Files (stems) that are not trained on at all.")
    args = parser.parse_args()
    documents = read(args.labelled)
    training = [d for d in documents if not held_out(d["id"]) and d["source"] not in args.without]
    if args.names:
        training += renamed(training, args.names)
    w, moves = train(training, args.epochs)
    scale = 127 / np.abs(w).max()
    small = np.clip(np.round(w * scale), -127, 127).astype(np.int8)
    w, moves = small.astype(np.float32), moves * np.float32(scale)
    for source in sorted({d["source"] for d in documents}):
        mine = [d for d in documents if d["source"] == source]
        rest = [d for d in mine if held_out(d["id"])]
        for caution in args.caution:
            print(f"{source}, caution {caution:g}, held out: {measure(rest, w, moves, caution)}", end="")
            print(f" | all: {measure(mine, w, moves, caution)}", flush=True)
    if args.out:
        save_file({"weights": small, "moves": moves}, args.out)


def renamed(documents: list[dict[str, Any]], path: Path) -> list[dict[str, Any]]:
    """Copies of documents with names, with other names in their places."""
    pool: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        lang, _, name = line.partition("\t")
        pool.setdefault(lang, []).append(name)
    rng = random.Random(5)
    out = []
    for document in documents:
        if not document["spans"]:
            continue
        for copy in range(COPIES if len(document["text"]) > 400 else 2 * COPIES):
            text, at, spans = [], 0, []
            length = 0
            for low, high, kind in sorted(document["spans"]):
                if low < at:
                    continue
                old = document["text"][low:high]
                han = "一" <= old[0] <= "鿿"
                new = rng.choice(pool["zh" if han else "en"])
                if han and len(old) not in (2, 3, 4):
                    new = old
                if not han:
                    words = new.split()
                    new = rng.choice(words) if " " not in old else new
                    new = new.lower() if old.islower() else new
                text.append(document["text"][at:low])
                length += low - at
                spans.append([length, length + len(new), kind])
                text.append(new)
                length += len(new)
                at = high
            text.append(document["text"][at:])
            out.append({**document, "id": f"{document['id']}/{copy}", "text": "".join(text), "spans": spans})
    return out


if __name__ == "__main__":
    main()
