"""The edge daemon: everything that composes the RADIUS engine and the configuration."""
