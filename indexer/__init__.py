"""Learns and keeps: everything that is computed from normal images lies in Qdrant."""
