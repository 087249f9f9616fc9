"""How the learned cascade is trained: cases, drawn images, samples, recipe."""
