"""Let ``python -m dispatcher`` be the command line."""

from dispatcher.cli.main import main

if __name__ == "__main__":
    main()
