"""Prefect flows and the `apo` command line over the tasks."""
