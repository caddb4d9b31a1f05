"""Benchmarks: ratios from interleaved runs on this machine. See README.md for what was measured, where and when."""
