"""What a version was made from, for people and for a clone that takes up where a run left off."""
