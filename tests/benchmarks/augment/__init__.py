"""Whether augmentation helps a segmenter that has few labelled cases: `make bench-augment`."""
