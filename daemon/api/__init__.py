"""The HTTP API: health and metrics on TCP, everything else on the admin socket."""
