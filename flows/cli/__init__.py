"""The command line `apo`."""
