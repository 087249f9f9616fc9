"""Stage: synthesize."""
