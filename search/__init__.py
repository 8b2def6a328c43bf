"""Asks: verdicts with their reasons, similar images, and whether parts have drifted."""
