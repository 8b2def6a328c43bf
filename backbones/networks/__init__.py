"""Torch networks by family, and the graph from pixels to embeddings."""
