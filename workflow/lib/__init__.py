"""Helpers of the workflow: plain functions, tested without Snakemake."""
