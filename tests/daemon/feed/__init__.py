"""Feeds of a platform: what they bring, hold and survive."""
