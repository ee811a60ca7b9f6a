"""Whether bytes are what the record says: stage outputs, DVC's cache and remote, registered models."""
