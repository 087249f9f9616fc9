"""`voxelway compare`: whether one run is better than another, on the cases that both have."""
