"""`python -m deeplab_repro`: the command line, for launchers such as torchrun that start modules."""

from deeplab_repro.cli import main

main()
