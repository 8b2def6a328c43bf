"""Queries the image library: neighbours, regions, defect types, groups, outliers."""
