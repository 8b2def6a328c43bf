"""One protocol for the embedded engine and a Qdrant server."""
