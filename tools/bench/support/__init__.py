"""What the measurements share: header, timing, result, and the models and peers they compare."""
