"""Many problems that share their matrix, and the signs of a layer."""
