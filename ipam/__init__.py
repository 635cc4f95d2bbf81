"""Addresses: pools, allocator, leases and their history. Pure: time is an argument, nothing of ours is imported."""
