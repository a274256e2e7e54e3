"""From ranges and a target's wishes to the encoding of each tensor."""
