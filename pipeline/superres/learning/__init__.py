"""What super-resolution networks are trained on, and to what end."""
