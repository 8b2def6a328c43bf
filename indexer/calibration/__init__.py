"""Turns the scores of normal images into p-values, thresholds and verdicts."""
