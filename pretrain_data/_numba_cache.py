"""Keeps numba's compiled kernels apart by version of their source.

numba renews a cached function when its own file changes, not when a function that is inlined from another
file does: after an edit or an upgrade it would go on running the old code. So each version of the kernels'
source has a cache of its own.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path


def use() -> None:
    """Point numba at the cache of this version, unless NUMBA_CACHE_DIR says otherwise.

    Where the package lies can't be written to, numba's own choice stays.
    """
    if "NUMBA_CACHE_DIR" in os.environ:
        return
    root = Path(__file__).parent
    sources = sorted([*root.glob("kernels/*.py"), *root.glob("graph/*.py")])
    version = hashlib.sha256(b"\0".join(path.read_bytes() for path in sources)).hexdigest()[:12]
    folder = root / "__pycache__" / f"numba-{version}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:  # installed read-only, or in a zip
        return
    os.environ["NUMBA_CACHE_DIR"] = str(folder)
    if "numba" in sys.modules:
        sys.modules["numba"].config.CACHE_DIR = str(folder)
