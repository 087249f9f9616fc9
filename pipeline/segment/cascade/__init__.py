"""The learned cascade: its plan, its grids, and how its levels are run."""
