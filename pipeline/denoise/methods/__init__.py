"""Methods of the denoise stage, one a file."""
