"""Records of inspected images, stored in the store."""
