"""DVC: running stages, the state of its records, its remote."""
