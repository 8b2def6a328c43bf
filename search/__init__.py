"""Answers questions: verdicts with their reasons, similar images, and drift of the calibration."""
