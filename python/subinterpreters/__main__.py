"""``python -m subinterpreters``; see ``_cli``."""

from subinterpreters._cli import main

if __name__ == "__main__":
    main()
