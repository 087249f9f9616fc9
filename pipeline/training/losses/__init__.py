"""All losses in one place."""
