"""Planning a run, and laws of how loss falls with size, data and compute."""
