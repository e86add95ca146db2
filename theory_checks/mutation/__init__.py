"""Break the library's formulas one expression at a time, and see which claim notices."""
