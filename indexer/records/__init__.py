"""What happened to inspected images, kept in the store."""
