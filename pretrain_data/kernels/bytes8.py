"""Eight bytes at a time: unaligned loads and tests of all eight at once, for kernels over byte arrays.

After Lamport, "Multiple byte processing with full-word instructions", CACM 18(8), 1975. Little-endian.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

#: Numba tests signed indices for being negative; `u` says that one isn't. Typed Any: inside a kernel
#: these are Numba's own types.
u: Any = np.uint64
s64: Any = np.int64

ONES = np.uint64(0x0101010101010101)
LOW7 = np.uint64(0x7F7F7F7F7F7F7F7F)
HIGH = np.uint64(0x8080808080808080)
NEWLINES = np.uint64(0x0A0A0A0A0A0A0A0A)
SEED = np.uint64(0xCBF29CE484222325)
PRIME = np.uint64(0x9E3779B97F4A7C15)


def _load8(typing_context: Any, array: Any, index: Any) -> Any:
    """Bytes `index` to `index + 8` of a uint8 array as one number; nothing is checked."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        held = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.gep(held.data, [arguments[1]])
        word = builder.bitcast(place, ir.IntType(64).as_pointer())
        return builder.load(word, align=1)

    return types.uint64(array, types.uint64), build


def _trailing_zeros(typing_context: Any, value: Any) -> Any:
    """Zero bits below the lowest set bit; 64 for 0."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(types.uint64), build


def _pointer(typing_context: Any, array: Any) -> Any:
    """The items of a one-dimensional array without the array: nothing is checked, no reference is counted.

    Numba counts references of an array in each function that it is handed through, which costs more than what a
    small function does. Whoever made the array must hold it.
    """

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.make_array(signature.args[0])(context, builder, arguments[0]).data

    return types.CPointer(array.dtype)(array), build


def _prefetch(typing_context: Any, array: Any, index: Any) -> Any:
    """Ask for the cache line of an item, for writing; nothing is checked, and any index is harmless."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        held = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.bitcast(builder.gep(held.data, [arguments[1]]), ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [place.type, number, number, number])
        ask = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        builder.call(ask, [place, number(1), number(3), number(1)])  # write, keep in all caches, data
        return context.get_dummy_value()

    return types.void(array, types.uint64), build


load8: Any = intrinsic(_load8)
prefetch: Any = intrinsic(_prefetch)
pointer: Any = intrinsic(_pointer)
trailing_zeros: Any = intrinsic(_trailing_zeros)


#: Bytes from which on an array is worth huge pages; NumPy's own bound.
LARGE = 1 << 22
_ADVICE = 14  # MADV_HUGEPAGE of madvise(2)
_LINUX = sys.platform == "linux"
_madvise: Any = types.ExternalFunction("madvise", types.int32(types.uintp, types.uintp, types.int32))


@njit(cache=True, nogil=True)
def in_huge_pages(array: np.ndarray) -> None:
    """Ask Linux to back an array by huge pages, as NumPy does and Numba doesn't; a refusal changes nothing.

    A quarter of the time of a document of 10 MB went into faults of its scratch, page by page.
    """
    if _LINUX and array.nbytes >= LARGE:
        begin = (u(array.ctypes.data) + u(4095)) & ~u(4095)
        _madvise(begin, u(array.ctypes.data) + u(array.nbytes) - begin, np.int32(_ADVICE))


@njit(cache=True, nogil=True, inline="always")
def first_zero(x: np.uint64) -> np.uint64:
    """A number whose lowest set bit is the high bit of the first zero byte; 0 without one."""
    return (x - ONES) & ~x & HIGH


@njit(cache=True, nogil=True, inline="always")
def nonzero(x: np.uint64) -> np.uint64:
    """The high bit of every byte that isn't zero."""
    return (((x & LOW7) + LOW7) | x) & HIGH


@njit(cache=True, nogil=True)
def hash_bytes(data: np.ndarray, start: int, end: int) -> np.uint64:
    """A 64-bit hash of `data[start:end]`."""
    h = SEED ^ u(end - start)
    i = start
    while i + 8 <= end:
        h = (h ^ load8(data, u(i))) * PRIME
        h ^= h >> u(29)
        i += 8
    rest = u(0)
    while i < end:
        rest = rest << u(8) | u(data[i])
        i += 1
    h = (h ^ rest) * PRIME
    return h ^ (h >> u(32))


@njit(cache=True, nogil=True)
def hash_each(data: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """`hash_bytes` of each text of an Arrow buffer."""
    found = np.empty(offsets.size - 1, np.uint64)
    for row in range(found.size):
        found[row] = hash_bytes(data, offsets[row], offsets[row + 1])
    return found
