"""The two exchanges of dedup without Spark: what is sent, spooled, merged and paired is what a table would give."""

from __future__ import annotations

import random
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain_data.dedup import buckets

KEYS = st.one_of(st.sampled_from([-(2**63), -1, 0, 7, 2**63 - 1]), st.integers(-(2**63), 2**63 - 1))


@given(
    st.lists(st.lists(KEYS, max_size=12), max_size=6),
    st.integers(1, 5),
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(0, 20),
)
def test_pairs_are_those_of_a_table(
    batches: list[list[int]], partitions: int, at_once: int, anchors: int, window: int, first_new: int
) -> None:
    """Each batch holds the keys of documents behind those before; a document may have several keys."""
    rng = random.Random(0)
    documents, rows = 0, []
    for batch in batches:
        numbers = sorted(documents + rng.randrange(len(batch)) for _ in batch)
        rows.append((np.array(batch, np.int64), np.array(numbers, np.int64)))
        documents += len(batch)
    layout = buckets.Layout(partitions, documents)
    sent = [item for keys, numbers in rows for item in buckets._stretches(keys, numbers, layout)]
    rng.shuffle(sent)  # a shuffle keeps no order
    received: dict[int, list[buckets.Packed]] = defaultdict(list)
    for partition in range(partitions):
        with buckets._Spool() as spool:
            for home, stretch in sent:
                if home == partition:
                    spool.add(stretch)
            for first, second, left_out in buckets._paired(spool.in_order(at_once), anchors, window, first_new):
                received[0].append((left_out, np.zeros(0, np.int64)))
                for home, numbers in layout.packed(first, second):
                    received[home].append((0, numbers))
    found, spared = [], 0
    for home, packed in received.items():
        numbers, left_out = buckets._merged(packed)
        first, second = layout.unpacked(home, numbers)
        found += list(zip(first.tolist(), second.tolist(), strict=True))
        spared += left_out

    by_key: dict[int, list[int]] = defaultdict(list)
    for keys, numbers in rows:
        for key, number in zip(keys.tolist(), numbers.tolist(), strict=True):
            by_key[key].append(number)
    expected, left = set(), 0
    for bucket in by_key.values():
        for i, later in enumerate(bucket):
            if later < first_new:
                continue
            near = set(range(min(anchors, i))) | set(range(max(0, i - window), i))
            expected |= {(bucket[j], later) for j in near}
            left += i - len(near)
    assert sorted(found) == sorted(expected)
    assert spared == left


@pytest.mark.parametrize("documents", [0, 1, 2, 1000, 2**32 + 5, 17 * 10**9])
def test_a_pair_is_one_number_of_its_partition(documents: int) -> None:
    layout = buckets.Layout.of(documents, 20, 2)
    assert layout.partitions * layout.width >= documents
    assert layout.bits + (layout.width - 1).bit_length() <= 63
    ends = np.array(sorted({0, documents // 3, documents // 2, max(0, documents - 1)}), np.int64)
    first, second = (ends[i] for i in np.triu_indices(len(ends)))
    back = [
        pair
        for home, numbers in layout.packed(first, second)
        for pair in zip(*(part.tolist() for part in layout.unpacked(home, numbers)), strict=True)
    ]
    assert sorted(back) == sorted(zip(first.tolist(), second.tolist(), strict=True))
    assert layout.partitions <= max(2, documents * 20 // buckets.KEYS_A_PARTITION + 1, documents >> 27)


def test_exact_sums_of_products_beyond_64_bits() -> None:
    import pyarrow as pa

    from pretrain_data.dedup.members import sums, total

    chars, tokens = [2**31 - 1, 2**31 - 2, 5], [2**31 - 1, 3, None]
    batch = pa.RecordBatch.from_pydict(
        {"lang": ["en"] * 3, "channel": ["web"] * 3, "chars": chars, "tokens": pa.array(tokens, pa.int64())}
    )
    parts = [{}, {}]
    sums(batch, parts[0])
    sums(batch.slice(2), parts[1])
    (row,) = total(parts)
    assert row == {
        "lang": "en",
        "channel": "web",
        "documents": 4,
        "chars": sum(chars) + 5,
        "n": 2,
        "x": sum(chars[:2]),
        "y": 2**31 + 2,
        "xx": sum(c * c for c in chars[:2]),
        "xy": (2**31 - 1) ** 2 + 3 * (2**31 - 2),
        "yy": (2**31 - 1) ** 2 + 9,
    }
