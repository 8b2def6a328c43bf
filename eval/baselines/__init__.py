"""What vecspect is compared with: baselines on the same embeddings, and in other libraries."""
