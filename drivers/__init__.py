"""Device drivers: one file a device family, transports behind protocols; knows nothing of the daemon."""
