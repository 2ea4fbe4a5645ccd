"""`python -m interlock.cli` is `interlock`."""

import sys

from interlock.cli import main

sys.exit(main())
