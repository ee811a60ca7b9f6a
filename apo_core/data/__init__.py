"""Data: from what people have, in whatever format, to prompts that may be trained and evaluated on."""
