"""Restores an earlier revision of a category as the next one."""

from __future__ import annotations

from dataclasses import replace

from indexer.catalog.category import Category
from indexer.catalog.commits import commit, read_history
from indexer.catalog.entry import CatalogEntry, CategoryError
from indexer.catalog.revisions import restore, undo_interrupted


def rollback(revision: int, *, category: Category) -> Category:
    """Make the state of an earlier revision the next revision; nothing is measured again.

    Raises:
        CategoryError: there is no such revision since the category was learnt from scratch.
    """
    now, past = category.entry, earlier_revisions(category)
    if revision not in past:
        possible = ", ".join(map(str, sorted(past))) or "none"
        raise CategoryError(
            f"revision {revision} of '{now.category}' cannot be restored; the current one is "
            f"{now.revision}. Possible: {possible} (see vecspect history)."
        )
    undo_interrupted(category)
    following = category.following("rollback", revision).entry
    old = replace(category, entry=past[revision])
    after = old.with_entry(
        revision=following.revision,
        attempt=following.attempt,
        parent=following.parent,
        built_at=following.built_at,
        action=f"back to revision {revision}",
    )
    commit(after, restore(category, old, after))
    return after


def earlier_revisions(category: Category) -> dict[int, CatalogEntry]:
    """Entries that can be restored, by revision: all since learning from scratch."""
    now = category.entry
    return {
        old.revision: old
        for old in read_history(category)
        if old.origin == now.origin and old.revision != now.revision
    }
