"""Cost of the reports on cohorts that are made up."""
