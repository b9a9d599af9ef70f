"""How fast mubench is on this machine: `mubench bench`."""
