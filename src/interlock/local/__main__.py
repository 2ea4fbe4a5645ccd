"""`python -m interlock.local`: serve a model until told to stop."""

import sys

from interlock.local.serve import main

if __name__ == "__main__":
    sys.exit(main())
