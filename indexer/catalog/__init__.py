"""What lies where in Qdrant: categories, their revisions, commit points and heads."""
