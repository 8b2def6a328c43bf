from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from threadpoolctl import threadpool_info, threadpool_limits

from indexer.knn.threads import made_once, one_thread


def blas_threads() -> set[int]:
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_products_have_one_thread_inside_and_as_many_as_before_outside() -> None:
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        with one_thread():
            assert blas_threads() == {1}
        assert blas_threads() == before


def test_limit_stays_until_the_last_thread_has_left_and_goes_with_it() -> None:
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        first, second = one_thread(), one_thread()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert blas_threads() == {1}
        second.__exit__(None, None, None)
        assert blas_threads() == before


class Bank:
    def __init__(self) -> None:
        self.made = 0

    @made_once
    def vectors(self) -> list[int]:
        """What is made."""
        self.made += 1
        return [self.made]


def test_value_is_made_once_an_object_by_one_of_the_threads_that_ask() -> None:
    bank, together = Bank(), threading.Barrier(8)

    def ask(_: int) -> list[int]:
        together.wait()
        return bank.vectors

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(8))) == [[1]] * 8
    assert Bank().vectors is not bank.vectors
    assert Bank.vectors.__doc__ == "What is made."
