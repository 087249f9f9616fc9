"""Methods of the fine level, one a file."""
