"""What a run shows of itself, and what it looks out for."""
