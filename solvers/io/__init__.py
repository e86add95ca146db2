"""Problems from files."""
