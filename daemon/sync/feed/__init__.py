"""A feed: the platform's objects of one tenant, read by cursor, applied once, checked by digests."""
