"""Methods of defacing, by the names that ``ingest.deface.method`` takes."""
