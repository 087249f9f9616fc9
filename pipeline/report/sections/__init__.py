"""Sections of the subject page: one module a stage finds the files and calls the figures."""
