"""`python -m langchain_cluster.cli`: the command line where its script is not on the path."""

import sys

from langchain_cluster.cli import main

sys.exit(main())
