"""The outbox: streams, shippers, what gives way."""
