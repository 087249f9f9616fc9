"""Benchmark of denoising and super-resolution; see `make bench-restore`."""
