"""One sparse problem of up to 10^8 rows."""
