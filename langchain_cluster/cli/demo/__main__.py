"""python -m langchain_cluster.cli.demo"""

import typer

from langchain_cluster.cli.demo import demo

typer.run(demo)
