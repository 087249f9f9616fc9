"""What networks of synthesis learn from and how: scans, methods, recipes, draws."""
