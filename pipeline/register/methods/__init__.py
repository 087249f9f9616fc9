"""Methods of the register stage, one a file."""
