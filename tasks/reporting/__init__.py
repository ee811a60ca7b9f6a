"""What people look at: plots, tables, examples of responses, artifacts on the Prefect page."""
