"""Sans-IO RADIUS: packets, attributes, dictionaries, authenticators, methods and vendor profiles."""
