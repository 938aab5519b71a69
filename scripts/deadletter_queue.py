#!/usr/bin/env python3
"""Makes the dead-letter queue of a virtual host: `scripts/deadletter_queue.py --vhost x`; -? says more.

The same as the command `deadletter-queue`, for a checkout that is not installed.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from deadletterqueue.cli import main  # found through the line above

if __name__ == "__main__":
    main(prog_name=Path(sys.argv[0]).name)
