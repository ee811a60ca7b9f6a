"""Prompts: fetched from S3 and the hub (`mirrors`), read (`sources`), cleaned (`cleaning`), a `table`."""
