"""Stage: denoise."""
