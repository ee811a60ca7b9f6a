"""Evaluation: a policy compared with its reference, pass@k, and 95% intervals."""
