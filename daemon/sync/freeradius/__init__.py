"""FreeRADIUS's users, clients and tables: read as objects of ours, and written back."""
