"""`make faults`: runs that are ended at random, and every fault that a machine or a server is known for."""
