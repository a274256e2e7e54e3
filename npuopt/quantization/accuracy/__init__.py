"""What quantization costs, layer by layer, and the search for what it may cost."""
