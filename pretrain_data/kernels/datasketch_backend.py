"""Signatures by datasketch behind the interface of `kernels.minhash.sign`: to check the kernel by.

The shingles are the same; datasketch permutes their 64-bit hashes (its scheme `affine64`), and the upper half of each
least value is kept, so that a signature has the same shape and an empty text the same values.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pretrain_data.kernels import minhash


def sign(
    text: pa.Array, characters: minhash.Flags, k: int, n: int, seed: int = minhash.SEED, simplified: bool = False
) -> minhash.Signed:
    """As `kernels.minhash.sign`, one Python object a document."""
    from datasketch import MinHash  # imports SciPy: half a second in every worker that doesn't need it

    plain = minhash.sign(text, characters, 0, n, seed, simplified)
    values, offsets = minhash.shingle_sets(text, characters, n, simplified)
    signatures = np.empty((len(text), k), np.uint32)
    if not k:
        return plain
    empty = MinHash(k, seed=seed % 2**32, hashfunc=int, scheme="affine64")
    for i in range(len(text)):
        made = empty.copy()
        made.update_batch(values[offsets[i] : offsets[i + 1]])
        signatures[i] = made.hashvalues >> np.uint64(32)
    return minhash.Signed(signatures, plain.shingles, plain.contents)
