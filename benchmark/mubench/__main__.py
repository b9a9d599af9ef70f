"""``python -m mubench``."""

from mubench.cli import main

if __name__ == "__main__":
    main()
