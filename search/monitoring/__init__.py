"""Monitors a category: drift, audit, and the effect of a change before it is made."""
