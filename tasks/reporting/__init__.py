"""What people look at: plots, tables, examples of responses, the Prefect page, the summary of a run."""
