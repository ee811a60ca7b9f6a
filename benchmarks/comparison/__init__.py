"""Every algorithm on the same task: `make compare`."""
