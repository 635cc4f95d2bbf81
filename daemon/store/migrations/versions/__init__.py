"""Schema changes, applied in order when the daemon starts."""
