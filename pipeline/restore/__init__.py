"""What denoising and super-resolution share: volumes to learn from, patches, tiles."""
