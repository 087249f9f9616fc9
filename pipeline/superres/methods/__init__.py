"""Methods of the superres stage, one a file."""
