"""Turns data sets on disk into image records."""
