"""Inequalities that sign vectors satisfy and the elliptope does not: finding them, and bounds that use them."""
