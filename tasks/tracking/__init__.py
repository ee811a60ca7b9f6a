"""MLflow: one tracked run for each pipeline run, and the registry of models."""
