"""Chooses the memory bank from normal patches, and extends it."""
