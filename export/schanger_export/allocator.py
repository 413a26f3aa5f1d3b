"""Allocator settings for training on a CPU: keep large blocks instead of giving them back at every step."""

from __future__ import annotations

import ctypes

# From malloc.h of the GNU C library.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
LARGEST = 2**31 - 1


def keep_large_blocks() -> bool:
    """Tell the C library to keep what is freed; False where it is not the GNU one.

    By default every tensor of more than some MB is mapped anew and its pages are zeroed by the kernel, which takes most
    of a training step on a CPU. The same as MALLOC_MMAP_MAX_=0, MALLOC_TOP_PAD_ and MALLOC_TRIM_THRESHOLD_.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    settings = ((M_MMAP_MAX, 0), (M_TOP_PAD, 1 << 30), (M_TRIM_THRESHOLD, LARGEST))
    return all(mallopt(key, value) == 1 for key, value in settings)
