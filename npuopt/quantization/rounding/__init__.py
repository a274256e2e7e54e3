"""How weights are rounded: by channel, in blocks, with data that says which errors cancel."""
