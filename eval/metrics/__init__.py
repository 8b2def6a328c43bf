"""Figures of merit, listed in one table."""
