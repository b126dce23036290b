"""How fast each part is, beside what a user would take instead, and beside the limit. `make bench` runs all of it."""
