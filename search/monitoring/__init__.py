"""Watches a category: drift, audit, and what a change would do."""
