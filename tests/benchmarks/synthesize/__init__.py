"""What synthesis is worth, in tables."""
