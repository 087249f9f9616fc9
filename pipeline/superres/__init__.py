"""Stage: superres."""
