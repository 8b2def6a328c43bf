"""Times every step, alongside its baselines in the same run."""
