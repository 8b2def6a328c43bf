"""Learns labelled data sets, measures the results and writes reports."""
