"""`apo doctor`: whether this machine and this workspace can run the pipeline."""
