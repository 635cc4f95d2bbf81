"""Data in: objects of the platform's feed, from files and calls, validated and turned into records."""
