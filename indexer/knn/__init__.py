"""Exact nearest neighbours of patches in a memory bank."""
