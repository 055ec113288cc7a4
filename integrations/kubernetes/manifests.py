"""What the chart renders to, and whether its parts agree with each other and with the app."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
RELEASE, NAMESPACE = "demo", "default"
# All the template language the chart uses, so that it can be looked at where there is no helm.
HOLE = re.compile(r"\{\{ (toJson )?\.([\w.]+) \}\}")


def rendered() -> str:
    """The chart's templates with its own values, as `helm template` has them."""
    helm = shutil.which("helm")
    if helm is not None:
        command = [helm, "template", RELEASE, str(HERE / "chart"), "--namespace", NAMESPACE]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return filled()


def filled() -> str:
    """The same without helm."""
    values = yaml.safe_load((HERE / "chart" / "values.yaml").read_text())
    known = {"Values": values, "Release": {"Name": RELEASE, "Namespace": NAMESPACE}}

    def value(hole: re.Match[str]) -> str:
        found: Any = known
        for name in hole[2].split("."):
            found = found[name]
        return json.dumps(found) if hole[1] else str(found)

    paths = sorted((HERE / "chart" / "templates").glob("*.yaml"))
    text = "\n---\n".join(HOLE.sub(value, path.read_text()) for path in paths)
    if "{{" in text:
        raise ValueError(f"not understood: {text[text.index('{{') :][:60]}")
    return text


def manifests() -> dict[tuple[str, str], Any]:
    """(kind, name) -> what is deployed."""
    found = {}
    for each in yaml.safe_load_all(rendered()):
        if each is not None:
            found[each["kind"], each["metadata"]["name"]] = each
    return found


def problems(deployed: dict[tuple[str, str], Any]) -> Iterator[str]:
    """Where parts do not fit."""
    for (kind, name), each in deployed.items():
        if kind == "Service":
            labels = deployed["Deployment", name]["spec"]["template"]["metadata"]["labels"]
            if each["spec"]["selector"].items() - labels.items():
                yield f"the service {name} selects no pod"
            named = {port["name"] for port in container(deployed, name)["ports"]}
            if not {port["targetPort"] for port in each["spec"]["ports"]} <= named:
                yield f"the service {name} leads to a port that no container has"
        if kind == "Deployment":
            labels = each["spec"]["template"]["metadata"]["labels"]
            if each["spec"]["selector"]["matchLabels"].items() - labels.items():
                yield f"the deployment {name} does not own its pods"
            yield from _command(name, container(deployed, name))
    yield from _discovery(deployed)
    yield from _app(deployed)


def container(deployed: dict[tuple[str, str], Any], name: str) -> Any:
    """The one container of a deployment."""
    (only,) = deployed["Deployment", name]["spec"]["template"]["spec"]["containers"]
    return only


def config(deployed: dict[tuple[str, str], Any]) -> Any:
    """The cluster's config as the app's pods see it."""
    return yaml.safe_load(deployed["ConfigMap", f"{RELEASE}-app"]["data"]["cluster.yaml"])


def _command(name: str, only: Any) -> Iterator[str]:
    words = [*only.get("command", ()), *only.get("args", ())]
    (port,) = (port["containerPort"] for port in only["ports"])
    if words[words.index("--port") + 1] != str(port):
        yield f"{name} does not listen on {port}"
    if words[words.index("--host") + 1] != "0.0.0.0":
        yield f"{name} cannot be reached from other pods"


def _discovery(deployed: dict[tuple[str, str], Any]) -> Iterator[str]:
    source, service = config(deployed)["discovery"], deployed["Service", f"{RELEASE}-models"]
    if service["spec"].get("clusterIP") != "None":
        yield "the service of the models is not headless: its name has one address for all of them"
    if source["host"] != f"{service['metadata']['name']}.{NAMESPACE}.svc.cluster.local":
        yield f"nobody answers to {source['host']}"
    if [port["port"] for port in service["spec"]["ports"]] != [source["port"]]:
        yield "the config has another port than the service"


def _app(deployed: dict[tuple[str, str], Any]) -> Iterator[str]:
    only, text = container(deployed, f"{RELEASE}-app"), (HERE / "app.py").read_text()
    paths = set(re.findall(r'Route\("(/\w+)"', text))
    for probe in ("readinessProbe", "livenessProbe"):
        if only[probe]["httpGet"]["path"] not in paths:
            yield f"the app does not answer its {probe}"
    (variable,) = only["env"]
    if f'os.environ["{variable["name"]}"]' not in text:
        yield f"the app does not read {variable['name']}"
    mounts = {mount["name"]: mount for mount in only["volumeMounts"]}
    if variable["value"] != f"{mounts['config']['mountPath']}/cluster.yaml":
        yield f"nothing is mounted at {variable['value']}"
    if not config(deployed)["stability"]["keep"].startswith(mounts["cache"]["mountPath"] + "/"):
        yield "the roster is kept where nothing can be written"
