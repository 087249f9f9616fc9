"""Archives: pull from and push to a PACS by DIMSE and DICOMweb."""
