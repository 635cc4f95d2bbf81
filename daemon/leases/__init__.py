"""Addresses at work: the book of leases with its store, what operators define, who had what."""
