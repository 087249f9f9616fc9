"""``make bench-register``: registration methods and their peers on the same pairs, in one run."""
