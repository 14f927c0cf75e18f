"""Documents held against benchmark files."""
