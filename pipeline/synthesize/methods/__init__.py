"""Methods of the synthesize stage, one a file."""
