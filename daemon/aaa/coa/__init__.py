"""CoA and Disconnect of ours: jobs, the ladder from a change to a kick, the wire, what is verified."""
