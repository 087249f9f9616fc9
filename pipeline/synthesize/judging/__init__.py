"""How real made images look: distances of feature distributions, and a classifier's guess."""
