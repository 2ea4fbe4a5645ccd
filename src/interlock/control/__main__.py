"""`python -m interlock.control`. The supervisor starts it through `interlock.tether`, so it dies with its parent."""

import sys

from interlock.control.main import main

sys.exit(main())
