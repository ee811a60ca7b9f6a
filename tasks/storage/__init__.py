"""S3: the client, checked transfers, published models."""
