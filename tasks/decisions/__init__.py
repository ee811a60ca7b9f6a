"""Decisions on registered versions: the log, the rules applied to it, the aliases that follow it."""
