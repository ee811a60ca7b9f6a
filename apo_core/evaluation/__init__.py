"""Evaluation: a policy compared with the reference policy, pass@k, and 95% intervals."""
