"""Logins of staff to devices, and their accounting."""
