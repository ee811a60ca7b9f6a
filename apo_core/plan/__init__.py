"""What a run will take: memory, disk and hours, from a model's shape and a machine's rates."""
