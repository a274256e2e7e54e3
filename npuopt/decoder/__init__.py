"""Recognises decoders by their structure: tokens, positions, masks, caches and logits, whoever exported them."""

from npuopt.decoder.description import Decoder, Layer, PositionTable
from npuopt.decoder.hints import NO_HINTS, Hints, read_hints
from npuopt.decoder.recognition import recognise

__all__ = ["NO_HINTS", "Decoder", "Hints", "Layer", "PositionTable", "read_hints", "recognise"]
