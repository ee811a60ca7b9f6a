"""Stage 2: an algorithm's steps over DeepSpeed."""
