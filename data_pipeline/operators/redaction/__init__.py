"""What names or unlocks a person or an account: one file a kind, each finding its places in a text."""
