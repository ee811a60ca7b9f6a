"""The pipeline's units of work and their edges to DVC, Great Expectations and MLflow."""
