"""TOSA: a region becomes a TOSA flatbuffer, which Arm's reference model computes bit for bit."""
