"""Training: an algorithm's steps over DeepSpeed."""
