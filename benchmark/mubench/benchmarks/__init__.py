"""Published benchmarks: one file each, which maps it to the form of `mubench.data.tables`."""
