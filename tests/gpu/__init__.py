"""Acceptance on a GPU: whether what CPU tests cannot show holds on this machine. See `__main__`."""
