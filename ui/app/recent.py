"""A few values by key, kept as long as they are used."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Recent(Generic[T]):
    """At most ``most`` values by key; the one used longest ago makes room."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: dict[Hashable, T] = {}

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of a key, made if it is not at hand."""
        self._values[key] = self._values.pop(key) if key in self._values else make()
        if len(self._values) > self._most:
            del self._values[next(iter(self._values))]
        return self._values[key]
