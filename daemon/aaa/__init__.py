"""Authentication, authorization and accounting: the conductor of a request and what it asks."""
