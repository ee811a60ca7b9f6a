"""The built-in task: arithmetic chains, and the tiny decoder that is trained on them from scratch."""
