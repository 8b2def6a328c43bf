"""The type of callback that reports progress."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Callback that is given the stage's name, the steps done and the steps in total."""
