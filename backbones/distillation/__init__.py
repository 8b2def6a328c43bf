"""Trains a small network to predict the features of a larger one."""
