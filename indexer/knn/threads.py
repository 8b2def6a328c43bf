"""One thread for the matrix products of a function."""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager

from threadpoolctl import ThreadpoolController


def one_thread() -> AbstractContextManager[object]:
    """Context in which BLAS computes in the calling thread alone.

    BLAS's own threads wait busily for a tenth of a second after a product, on the cores that the
    network wants next: an image takes twice as long then.
    """
    limits: AbstractContextManager[object] = _blas().limit(limits=1)
    return limits


@functools.cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")
