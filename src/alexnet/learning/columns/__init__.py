"""The columns of one network as processes (section 3.2)."""
