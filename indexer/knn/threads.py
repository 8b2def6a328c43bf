"""Shared by threads: one thread for matrix products, and values that are computed once."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Generic, Self, TypeVar, overload

from threadpoolctl import ThreadpoolController

T = TypeVar("T")


class _Limit:
    """Number of functions that limit BLAS to one thread at the moment; the last one releases it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.holders = 0
        self.held = ExitStack()


_limit = _Limit()


@contextmanager
def one_thread() -> Iterator[None]:
    """Context in which BLAS computes only in the calling thread.

    After a product, BLAS's own threads spin for a tenth of a second on the cores that the network
    needs next, which doubles the time per image. The limit holds for the whole process, so it stays
    until the last thread that requested it has left.
    """
    with _limit.lock:
        if not _limit.holders:
            _limit.held.enter_context(_blas().limit(limits=1))
        _limit.holders += 1
    try:
        yield
    finally:
        with _limit.lock:
            _limit.holders -= 1
            if not _limit.holders:
                _limit.held.close()


@functools.cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")


class made_once(Generic[T]):  # noqa: N801  # used as a decorator, like `functools.cached_property`
    """A property computed by the first thread that needs it, while the others wait.

    `functools.cached_property` lets every thread compute it: eight threads would hold eight banks.
    """

    def __init__(self, make: Callable[[Any], T]) -> None:
        self._make = make
        self._lock = threading.RLock()
        self.__doc__ = make.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...

    @overload
    def __get__(self, instance: object, owner: type) -> T: ...

    def __get__(self, instance: object | None, owner: type) -> Self | T:
        if instance is None:
            return self
        # once computed, the instance's own attribute is found before this descriptor
        values = vars(instance)
        with self._lock:
            if self._name not in values:
                values[self._name] = self._make(instance)
        value: T = values[self._name]
        return value
