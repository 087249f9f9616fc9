"""The embedded cohort: real anatomy with known truth, written as DICOM."""
