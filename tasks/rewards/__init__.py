"""What verifiers make of gold answers and completions, before anything is trained on it."""
