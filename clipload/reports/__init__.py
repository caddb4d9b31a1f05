"""Reports: each a function of a Run. They never need the target, and compute nothing that the Run does not hold."""
