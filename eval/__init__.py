"""Measures labelled data sets, alongside baselines, and writes reports."""
