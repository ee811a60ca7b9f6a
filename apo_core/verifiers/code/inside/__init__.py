"""What runs in the sandbox: standard library only, and nothing of this project."""
