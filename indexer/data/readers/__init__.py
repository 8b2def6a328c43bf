"""One file a layout of data sets, tried in order."""
