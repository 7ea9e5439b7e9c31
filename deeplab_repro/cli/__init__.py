"""The `deeplab` command: `app` holds its verbs, `main` is the entry point. Only the verb that runs imports torch."""

from deeplab_repro.cli.app import app, main

__all__ = ["app", "main"]
