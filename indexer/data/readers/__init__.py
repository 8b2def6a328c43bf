"""One file per layout of data sets, tried in order."""
