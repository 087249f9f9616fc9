"""Generated training cases: adversarial generators and learned transforms, and their guards."""
