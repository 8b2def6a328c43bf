"""What threads share: one thread for matrix products, and values that are made once."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Generic, Self, TypeVar, overload

from threadpoolctl import ThreadpoolController

T = TypeVar("T")


class _Limit:
    """How many functions hold BLAS to one thread at the moment; the last of them lets it go."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.holders = 0
        self.held = ExitStack()


_limit = _Limit()


@contextmanager
def one_thread() -> Iterator[None]:
    """Context in which BLAS computes in the calling thread alone.

    BLAS's own threads wait busily for a tenth of a second after a product, on the cores that the
    network wants next: an image takes twice as long then. The limit is one of the process, so it
    stays until the last of the threads that asked for it has left.
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
    """A property that one of the threads that first ask for it makes, while the others wait.

    `functools.cached_property` lets each of them make it: eight threads would hold eight banks.
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
        # once made, the instance's own attribute is found before this descriptor
        values = vars(instance)
        with self._lock:
            if self._name not in values:
                values[self._name] = self._make(instance)
        value: T = values[self._name]
        return value
