"""Methods of the preprocess stage, one a file."""
