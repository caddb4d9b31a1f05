"""clipload: the load generator for CLIP embedding servers. See README.md; the order of the house is in docs/extending.md."""

__version__ = "0.1.0"
