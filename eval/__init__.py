"""Measures labelled data sets, beside baselines, and reports."""
