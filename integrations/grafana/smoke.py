"""Whether every panel asks for what is served and Grafana has the dashboard; exits 1 if not."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from urllib.request import urlopen

sys.path.insert(0, str(Path(__file__).parents[1] / "prometheus"))

from smoke import LABELS, USED, served  # the other folder's: what a program serves

DASHBOARD = Path(__file__).parent / "dashboards" / "langchain-cluster.json"
RARE = {"langchain_cluster_hedges_total", "langchain_cluster_shed_total"}  # there once it has happened


def used() -> set[str]:
    """Names of the metrics the panels ask for."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    asked = (target["expr"] for panel in panels for target in panel["targets"])
    return {name for expression in asked for name in USED.findall(LABELS.sub("", expression))}


def main() -> int:
    """Compare what the panels ask for with what is served."""
    missing = used() - served() - RARE
    if missing:
        sys.stdout.write(f"panels ask for what is not served: {', '.join(sorted(missing))}\n")
        return 1
    sys.stdout.write(f"all {len(used())} metrics of the dashboard are served\n")
    if len(sys.argv) > 1:
        with urlopen(f"{sys.argv[1]}/api/dashboards/uid/langchain-cluster", timeout=5.0) as answer:
            title = json.load(answer)["dashboard"]["title"]
        if not re.search("langchain-cluster", title):
            sys.stdout.write(f"Grafana has {title!r} in its place\n")
            return 1
        sys.stdout.write("and Grafana has it\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
