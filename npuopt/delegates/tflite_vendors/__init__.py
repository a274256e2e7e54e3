"""Vendors whose compilers read TFLite models, and that users bring along.

They are looked for, run with bounds, and believed only as far as the file that they write.
"""
