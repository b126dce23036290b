"""What every engine of a port must do: an engine's tests inherit the suite and hand it the engine."""
