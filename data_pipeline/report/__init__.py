"""What a corpus is made of, before and after, what took the difference, and whether the loss was lopsided."""
