"""The configuration: its schema, the check that it holds, and the name of what it describes."""
