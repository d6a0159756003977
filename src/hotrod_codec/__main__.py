"""`python -m hotrod_codec`: the same as the command `hotrod`."""

import sys

from hotrod_codec.cli import main

if __name__ == "__main__":
    sys.exit(main())
