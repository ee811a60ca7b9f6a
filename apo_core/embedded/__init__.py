"""The embedded task: arithmetic chains, and the tiny decoder that is pre-trained on them from scratch."""
