"""Sampling at scale: samplers, shards that survive a kill, workers, scoring, evaluation of a policy."""
