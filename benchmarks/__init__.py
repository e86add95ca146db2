"""Measurements that anyone can run: `python -m benchmarks.sdp.sdp`, `python -m benchmarks.networks.training`."""
