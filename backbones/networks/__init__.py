"""Torch networks by family, and the graph that goes from pixels to embeddings."""
