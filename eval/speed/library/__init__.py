"""Storage and search of a library of many images, measured."""
