"""Schema changes of the address book, which may lie in a database that several nodes share."""
