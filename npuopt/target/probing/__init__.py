"""Single-op models that hold a descriptor against the vendor's own compiler."""
