"""The rules of promotion and approval, and the chain that makes the log of decisions tamper-evident."""
