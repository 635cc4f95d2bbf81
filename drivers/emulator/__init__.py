"""Emulated devices over real SSH, with faults on demand and timers that really revert: for tests and the kit."""
