"""The command line: parse, call npuopt.api, print. Nothing heavy is imported before a command runs."""

from npuopt.cli.app import main

__all__ = ["main"]
