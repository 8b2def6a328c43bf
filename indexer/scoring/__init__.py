"""Computes image scores, anomaly maps and defect embeddings from patch distances."""
