"""Tests of what comes from FreeRADIUS, and goes back there."""
