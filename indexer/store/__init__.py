"""One protocol for the embedded engine and for a Qdrant server."""
