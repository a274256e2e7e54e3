"""Sony IMX500: the region as a model with power-of-two quantizers, which the sensor's converter packs."""
