"""Finds the exact nearest neighbours of patches in a memory bank."""
