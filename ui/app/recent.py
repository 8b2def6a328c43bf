"""A few values by key, kept as long as they are used."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, Generic, TypeVar

from backbones.errors import ImageError
from backbones.pipeline import ImageFeatures
from search.inspector import Inspector

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


_FEATURES = 32
"""Images whose features are at hand for more questions: 1.6 MB each with `compact`."""
_ANSWERS = 400
"""Answers at hand, so that a slider or a click need not score and search again."""


class Answers:
    """Answers about image files, and the features they come from, at hand while nothing changes."""

    def __init__(self) -> None:
        self._features: Recent[ImageFeatures | Path] = Recent(_FEATURES)
        self._answers: Recent[Any] = Recent(_ANSWERS)

    def features(self, inspector: Inspector, path: Path) -> ImageFeatures | Path:
        """Features of a file, computed once while it is unchanged; the path if it is unreadable."""
        space = json.dumps(inspector.entry.feature_space)
        question = (inspector.entry.fingerprint, space, path, _changed_at(path))
        try:
            return self._features.get(question, lambda: inspector.features(path))
        except ImageError:
            return path

    def about(
        self,
        inspector: Inspector,
        path: Path,
        what: tuple[object, ...],
        ask: Callable[[ImageFeatures | Path], T],
    ) -> T:
        """Answer to a question about a file, asked again if category or file have changed."""
        inspector.refresh()
        question = (inspector.category.key, inspector.entry.head, path, _changed_at(path), what)
        answer: T = self._answers.get(question, lambda: ask(self.features(inspector, path)))
        return answer


def _changed_at(path: Path) -> int:
    """Nanoseconds; 0 of a file that is gone, which scoring explains."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
