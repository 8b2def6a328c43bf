"""Measures the storage and search of a library of many images."""
