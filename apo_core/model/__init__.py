"""The policy: its directory, template, log-probabilities, output embedding, adapters, critic and memory."""
