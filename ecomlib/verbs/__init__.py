"""What the verbs do: each gets its options and returns what it found out. `cli.py` says how they are called."""
