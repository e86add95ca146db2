"""`python -m vispa`."""

import sys

from vispa.cli import main

sys.exit(main())
