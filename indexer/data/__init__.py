"""Data sets on disk become image records."""
