"""The outbox: streams of events, and the sinks that carry them away."""
