"""Our copy of the platform's data: records, the index that answers look-ups, and its durable form."""
