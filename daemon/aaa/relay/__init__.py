"""CoA and Disconnect for the platform: its requests are answered by what the NAS answers."""
