"""CPU speed only, behind `install.install(model)`: delete this folder and everything still runs."""
