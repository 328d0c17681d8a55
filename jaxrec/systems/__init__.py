"""One folder per published system, composed from the rooms above."""
