"""Trained segmentation against nnU-Net: the same steps on the same fold."""
