"""A module that fails as it is imported, by an error of its own."""

raise RuntimeError("this module cannot be imported")
