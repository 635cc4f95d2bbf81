"""The daemon's settings: models, loader, secret references, and what a reload may change."""
