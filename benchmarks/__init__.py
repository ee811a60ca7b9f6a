"""Speed, memory and learning, measured as ratios within one run."""
