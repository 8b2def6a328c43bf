"""A small network learns to predict the features of a larger one."""
