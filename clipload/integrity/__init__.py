"""Integrity under load: are the vectors right while the target is loaded? A sample of replies against what the Items had alone.

Before the load `standing` takes references at one request in flight; during it the workers hand raw replies of a sample to one
checker process (`sampler`, `checker`), which keeps to the supervisor's cores; `watching` starts it and brings home what it
found, as the fact `agreement.FACT` of the Run.
"""
