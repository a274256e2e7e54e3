"""`python -m npuopt`."""

from npuopt.cli.app import main

main()
