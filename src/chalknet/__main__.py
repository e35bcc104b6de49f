"""Run the command line of chalknet with `python -m chalknet`."""

import sys

from chalknet.cli.main import main

sys.exit(main())
