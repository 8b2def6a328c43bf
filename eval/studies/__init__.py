"""Whether what the product promises holds."""
