"""Tells the published weights of a network from others, by what they make of a picture."""
