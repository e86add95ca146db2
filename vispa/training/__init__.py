"""Train binary networks and compare methods over paired seeds."""
