"""Learns labelled data sets, measures them and writes the reports."""
