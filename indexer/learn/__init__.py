"""Learns a category from its normal images, and calibrates it again."""
