"""Problems, their costs, and what solving them returns."""
