"""How long everything takes, beside its baselines in the same run."""
