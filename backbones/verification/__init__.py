"""Tells the published weights of a network from others, by its features of one picture."""
