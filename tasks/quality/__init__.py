"""Data quality: the checks of prompts, samples and values, run by Great Expectations."""
