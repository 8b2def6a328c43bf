"""Baselines for comparison: on the same embeddings, and in other libraries."""
