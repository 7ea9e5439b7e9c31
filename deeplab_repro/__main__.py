"""`python -m deeplab_repro`: the command line, for launchers such as torchrun that start modules."""

import sys

from deeplab_repro.cli import main

sys.exit(main())
