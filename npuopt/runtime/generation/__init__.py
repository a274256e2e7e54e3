"""Text from a compiled language model, token by token."""
