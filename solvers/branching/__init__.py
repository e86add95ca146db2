"""Branch and bound: the integer form of a problem, its nodes, their bounds, and the tree."""
