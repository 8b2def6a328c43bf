"""Changes a learnt category: images join, leave and are named; levels; rollback."""
