"""What the library needs of the operating system: files, imports, ports, processes, environment."""
