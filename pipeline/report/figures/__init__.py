"""Pictures of the QC pages: functions of images that give encoded pictures."""
