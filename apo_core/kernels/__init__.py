"""CPU speed only: on GPUs nothing here runs."""
