"""One trainer, losses and data modules for every learned method."""
