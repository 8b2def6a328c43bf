"""Studies that test whether vecspect keeps its promises."""
