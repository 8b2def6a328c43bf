"""Scores of normal images become p-values, thresholds and verdicts."""
