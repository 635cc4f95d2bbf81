"""The command line: click commands that speak HTTP over the admin socket, and a small NAS."""
