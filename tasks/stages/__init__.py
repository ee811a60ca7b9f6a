"""The stages of `dvc.yaml`, one module each with a `run`, and the process that runs them."""
