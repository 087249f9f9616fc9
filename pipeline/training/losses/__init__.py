"""All losses in one place: ``registry.build`` makes a weighted sum of them from a configuration."""
