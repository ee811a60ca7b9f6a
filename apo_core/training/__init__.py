"""Stage 2: on-policy least squares over DeepSpeed."""
