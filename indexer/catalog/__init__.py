"""Defines what is stored where in Qdrant: categories, revisions, commit points and heads."""
