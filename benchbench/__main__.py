"""python -m benchbench: the same as bench."""

from benchbench.cli import main

if __name__ == "__main__":
    main()
