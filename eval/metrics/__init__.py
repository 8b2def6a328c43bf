"""Figures of merit, in one table."""
