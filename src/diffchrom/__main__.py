"""``python -m diffchrom``."""

from diffchrom.cli import main

if __name__ == "__main__":
    main()
