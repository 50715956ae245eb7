"""Makes texts of low quality out of good ones, for languages in which labelled bad ones are rare."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

from pretrain_data import yamltree
from pretrain_data.models.training.labels import Example

WORDS = Path(__file__).with_name("spoiling.yaml")


def spoiled(examples: list[Example], share: float, seed: int) -> list[Example]:
    """Low-quality texts made from high ones: menus, keyword chains, repetition, shuffled pieces; some 1/4 each."""
    rng = random.Random(seed)
    lists = yamltree.load(WORDS).value
    good = [e for e in examples if e.label == "high" and e.lang in lists]
    return [
        replace(e, text=_spoil(e.text, e.lang, lists[e.lang], rng), label="low", source="spoiled")
        for e in rng.sample(good, int(len(good) * min(share, 1.0)))
    ]


def _spoil(text: str, lang: str, words: dict[str, list[str]], rng: random.Random) -> str:
    space = "" if lang == "zh" else " "
    size = 7 if lang == "zh" else 30
    pieces = [text[i : i + size].strip() for i in range(0, min(len(text), 900), size)]
    kind = rng.randrange(4)
    if kind == 0:
        names = rng.choices(words["menu"], k=rng.randrange(15, 80)) + rng.choices(pieces, k=rng.randrange(10))
        rng.shuffle(names)
        return rng.choice(["\n", "\n  • ", " | ", "\n\n", " "]).join(names)
    if kind == 1:
        chain = rng.choices(words["spam"], k=6) + pieces[:8]
        return rng.choice(["，", space or " ", "、"]).join(rng.choices(chain, k=60))
    if kind == 2:
        return (text[: rng.randrange(20, 90)] + rng.choice(["", "\n"])) * rng.randrange(8, 20)
    rng.shuffle(pieces)
    return rng.choice([" | ", "\n", space or " "]).join(pieces)
