"""Methods of the segment stage, one a file."""
