"""Changes a learnt category: adds, removes and names images, changes levels, rolls back."""
