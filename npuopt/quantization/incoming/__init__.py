"""Models and files that bring encodings along, npuopt's own or other tools'."""
