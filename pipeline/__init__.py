"""Voxelway: the stages of the imaging pipeline, usable without the workflow."""

__version__ = "0.1.0"
