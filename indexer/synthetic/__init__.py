"""Makes synthetic products and defects, for the demo, the tests and estimates."""
