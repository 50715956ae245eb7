"""Signatures against a plain Python oracle, datasketch's estimate and the exact similarity."""

from __future__ import annotations

import itertools
import re
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from datasketch import MinHash
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain_data.kernels import datasketch_backend, minhash, normalize
from pretrain_data.kernels.similarity import containment, estimated, exact

ALPHABET = "ab cC1，。 ！中文語语全ＡＢ１ｱéßﬁ½\n\t'_-—한글かな😀"
TEXTS = st.lists(st.text(alphabet=st.sampled_from(ALPHABET), max_size=60), min_size=1, max_size=6)


def tokens(text: str, characters: bool) -> list[str]:
    """By the definition: fold each code point, then cut into runs and single characters."""
    out: list[str] = []
    run = ""
    for raw in text:
        form = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", raw).lower())
        for c in form:
            if unicodedata.combining(c):
                continue
            letter = unicodedata.category(c)[0] in "LNM"
            single = unicodedata.category(c) == "Lo" and bool(re.match("[\u2e80-\u9fff\uac00-\ud7a3\uf900-\ufaff]", c))
            if letter and not single and not characters:
                run += c
                continue
            if run:
                out.append(run)
                run = ""
            if letter:
                out.append(c)
    return [*out, run] if run else out


def shingles(text: str, characters: bool, n: int) -> set[tuple[str, ...]]:
    found = tokens(text, characters)
    if not found:
        return set()
    width = min(n, len(found))
    return {tuple(found[i : i + width]) for i in range(len(found) - width + 1)}


@settings(max_examples=60, deadline=None)
@given(TEXTS, st.booleans(), st.integers(1, 5), st.sampled_from([pa.string(), pa.large_string()]))
def test_shingle_sets_are_those_of_the_definition(
    texts: list[str], characters: bool, n: int, kind: pa.DataType
) -> None:
    flags = np.full(len(texts), characters)
    values, offsets = minhash.shingle_sets(pa.array(["pad", *texts], kind).slice(1), flags, n)
    sets = [set(values[low:high].tolist()) for low, high in itertools.pairwise(offsets)]
    expected = [shingles(t, characters, n) for t in texts]
    assert [len(s) for s in sets] == [len(s) for s in expected]
    for i in range(len(texts)):
        for j in range(i):
            assert len(sets[i] & sets[j]) == len(expected[i] & expected[j])


@settings(max_examples=30, deadline=None)
@given(TEXTS)
def test_a_signature_is_the_least_value_of_each_permutation(texts: list[str]) -> None:
    flags = np.zeros(len(texts), np.bool_)
    got, counts, _ = minhash.sign(pa.array(texts), flags, 16, 3)
    values, offsets = minhash.shingle_sets(pa.array(texts), flags, 3)
    perms = minhash.permutations(16)
    for d in range(len(texts)):
        hashes = values[offsets[d] : offsets[d + 1]].tolist()
        for j in range(16):
            a, b = int(perms.a[j]), int(perms.b[j])
            expected = min(
                (((a * (h & 0xFFFFFFFF)) + ((h >> 32) ^ b)) & 0xFFFFFFFF for h in hashes), default=0xFFFFFFFF
            )
            assert got[d, j] == expected
        assert (counts[d] == 0) == (not hashes)


def test_folding_sees_through_width_case_and_punctuation() -> None:
    texts = pa.array(["Ｈｅｌｌｏ，　ＷＯＲＬＤ！ １２３ four", "hello world 123 Four", "hello world 124 four"])
    made, _, contents = minhash.sign(texts, np.zeros(3, np.bool_), 64, 2)
    assert (made[0] == made[1]).all()
    assert not (made[0] == made[2]).all()
    assert contents[0].tolist() == contents[1].tolist() != contents[2].tolist()


def test_texts_of_what_is_spelt_out_have_room() -> None:
    """The longest spellings by the byte, by Unicode's own tables: a page full of them once overran the buffers."""
    most = 0.0
    for code in range(0x80, normalize.LIMIT):
        if not 0xD800 <= code <= 0xDFFF:
            most = max(most, len(tokens(chr(code), True)) / len(chr(code).encode()))
    assert most == normalize.TOKENS_A_BYTE
    texts = ["\ufdfa" * 5000, "㌖" * 5000, "㋿" * 5000]
    for characters in (True, False):
        counts = minhash.sign(pa.array(texts), np.full(3, characters), 16, 5).shingles.tolist()
        assert counts == [len(tokens(t, characters)) - 4 for t in texts]


def test_nulls_and_texts_without_tokens_are_never_alike() -> None:
    texts = pa.array([None, "", "……", "！！！"], pa.large_string())
    _, counts, hashes = minhash.sign(texts, np.zeros(4, np.bool_), 16, 5)
    assert counts.tolist() == [0, 0, 0, 0]
    contents = [tuple(row) for row in hashes.tolist()]
    assert contents[0] == contents[1]
    assert len(set(contents)) == 3


@pytest.mark.parametrize("similarity", [0.5, 0.8, 0.95])
def test_the_estimate_is_as_good_as_the_theory_and_datasketch(similarity: float) -> None:
    """Independent pairs of random sets: rmse against sqrt(J(1-J)/k), and the bias, beside datasketch's."""
    rng = np.random.default_rng(7)
    k, size, pairs = 128, 120, 400
    shared = round(2 * size * similarity / (1 + similarity))
    true = shared / (2 * size - shared)
    texts, errors, reference = [], [], []
    for _ in range(pairs):
        words = [f"w{v}" for v in rng.integers(0, 10**9, 2 * size - shared)]
        texts += [" ".join(words[:size]), " ".join(words[size - shared :])]
    made = minhash.sign(pa.array(texts), np.zeros(len(texts), np.bool_), k, 1).signatures
    first = np.arange(0, len(texts), 2)
    errors = estimated(made, first, first + 1) - true
    for i in range(0, 160, 2):
        one, other = MinHash(k, seed=i), MinHash(k, seed=i)
        one.update_batch([w.encode() for w in texts[i].split()])
        other.update_batch([w.encode() for w in texts[i + 1].split()])
        reference.append(one.jaccard(other) - true)
    theory = np.sqrt(true * (1 - true) / k)
    assert np.sqrt((errors**2).mean()) < 1.15 * theory
    assert abs(errors.mean()) < 4 * theory / np.sqrt(pairs)
    assert np.sqrt((errors**2).mean()) < 1.3 * np.sqrt((np.array(reference) ** 2).mean())


def test_exact_similarity_is_that_of_sets() -> None:
    sets = [{1, 2, 3, 4}, {3, 4, 5}, set(), {9}]
    values = np.array([v for s in sets for v in sorted(s)], np.uint64)
    ends = np.cumsum([len(s) for s in sets])
    starts = ends - [len(s) for s in sets]
    first, second = np.array([0, 0, 2, 3]), np.array([1, 3, 2, 3])
    assert exact(values, starts, ends, first, second).tolist() == pytest.approx([2 / 5, 0.0, 0.0, 1.0])


def test_containment_is_the_share_of_the_first() -> None:
    sets = [{1, 2, 3, 4}, {3, 4, 5}, set(), {9}]
    values = np.array([v for s in sets for v in sorted(s)], np.uint64)
    ends = np.cumsum([len(s) for s in sets])
    starts = ends - [len(s) for s in sets]
    first, second = np.array([0, 1, 2, 3, 3]), np.array([1, 0, 3, 2, 3])
    assert containment(values, starts, ends, first, second).tolist() == pytest.approx([2 / 4, 2 / 3, 1.0, 0.0, 1.0])


def test_datasketch_behind_the_same_interface_estimates_the_same() -> None:
    """Shingles and contents are the kernel's; the values are datasketch's own, so that only estimates compare."""
    rng = np.random.default_rng(3)
    texts = []
    for shared in (0, 60, 120, 180, 200) * 8:
        words = [f"w{v}" for v in rng.integers(0, 10**9, 400 - shared)]
        texts += [" ".join(words[:200]), " ".join(words[200 - shared :])]
    column, flags = pa.array([*texts, "", "！"]), np.zeros(len(texts) + 2, np.bool_)
    one, other = minhash.sign(column, flags, 128, 1), datasketch_backend.sign(column, flags, 128, 1)
    assert other.signatures.shape == one.signatures.shape
    assert other.signatures.dtype == one.signatures.dtype
    assert (other.contents == one.contents).all()
    assert (other.shingles == one.shingles).all()
    assert (other.signatures[-2:] == minhash.EMPTY).all()
    first = np.arange(0, len(texts), 2)
    true = np.array([s / (400 - s) for s in (0, 60, 120, 180, 200) * 8])
    error = estimated(other.signatures, first, first + 1) - true
    assert np.sqrt((error**2).mean()) < 1.5 * np.sqrt((true * (1 - true)).mean() / 128)


def test_traditional_characters_fold_to_simplified_ones_on_request() -> None:
    """Against OpenCC's own conversion of whole texts, character by character; without it, scripts stay apart."""
    from opencc import OpenCC

    text = "圖書館裏學習漢語與歷史，２０２４年（臺灣）。"
    converted = "".join(OpenCC("t2s").convert(c) for c in text)
    column, flags = pa.array([text, converted]), np.ones(2, np.bool_)
    apart, alike = (minhash.sign(column, flags, 16, 2, simplified=simplified).contents for simplified in (False, True))
    assert apart[0].tolist() != apart[1].tolist()
    assert alike[0].tolist() == alike[1].tolist()
    assert normalize.tables(True).folded[ord("門")] == ord("门")
    assert normalize.tables(True).folded[0x2FA8] == ord("门"), "a radical folds to a character, and that to another"
    assert normalize.tables(False).folded[ord("門")] == ord("門")
    assert normalize.name(False) != normalize.name(True)


def test_estimator_on_real_pairs(shared_data: object) -> None:
    import pyarrow.parquet as pq

    folder = shared_data / "text" / "dedup"  # type: ignore[operator]
    documents = pq.read_table(folder / "docs.parquet", columns=["id", "text", "lang"])
    pairs = pq.read_table(folder / "truth_pairs.parquet").slice(0, 20_000)
    place = {identity: i for i, identity in enumerate(documents["id"].to_pylist())}
    first = np.array([place[i] for i in pairs["id1"].to_pylist()])
    second = np.array([place[i] for i in pairs["id2"].to_pylist()])
    used, back = np.unique(np.concatenate([first, second]), return_inverse=True)
    texts = documents["text"].combine_chunks().take(pa.array(used))
    characters = np.array([lang == "zh" for lang in documents["lang"].take(pa.array(used)).to_pylist()])
    values, offsets = minhash.shingle_sets(texts, characters, 5)
    one, other = back[: len(first)], back[len(first) :]
    found = exact(values, offsets[:-1], offsets[1:], one, other)
    # The truth folds a text as a whole, we fold each code point: some hundredths of the pairs differ a little.
    assert np.mean(np.abs(found - pairs["jaccard"].to_numpy()) > 0.01) < 0.01
