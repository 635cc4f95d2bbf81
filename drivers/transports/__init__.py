"""Transports: octets to a device and back, with deadlines; what they carry is the drivers' business."""
