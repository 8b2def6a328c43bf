"""Learns and keeps: everything computed from normal images is stored in Qdrant."""
