"""How denoising networks are trained: noise to add, samples, losses, recipe."""
