"""The files in `deploy/` by the schemas and parsers of those who read them, and a page of metrics by Prometheus' own client.

deploy.py FOLDER METRICS: complaints, a line each; nothing when all is well.
"""

import json
import sys
from pathlib import Path

import compose_spec
import kubernetes_validate
import promql_parser
import yaml
from prometheus_client.parser import text_string_to_metric_families

# The oldest release that is still common, and the newest whose schema there is.
KUBERNETES = ["1.30", "1.37"]


def kubernetes(folder):
    for manifest in yaml.safe_load_all((folder / "kubernetes.yaml").read_text()):
        for version in KUBERNETES:
            try:
                kubernetes_validate.validate(manifest, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                yield f"kubernetes.yaml: {manifest['kind']} of {version}: {'.'.join(map(str, error.path))}: {error.message}"


def compose(folder):
    try:
        compose_spec.PyCompose.from_yaml((folder / "compose.yaml").read_text()).to_spec()
    except Exception as error:  # its errors have no type in common
        yield f"compose.yaml: {error}"


def queries(folder):
    for panel in json.loads((folder / "grafana.json").read_text())["panels"]:
        for target in panel.get("targets", []):
            yield "grafana.json", target["expr"].replace("$__rate_interval", "5m")
    for group in yaml.safe_load((folder / "alerts.yaml").read_text())["groups"]:
        for rule in group["rules"]:
            yield "alerts.yaml", rule["expr"]


def promql(folder):
    for name, query in queries(folder):
        try:
            promql_parser.parse(query)
        except ValueError as error:
            yield f"{name}: {query}: {error}"


def metrics(page):
    families = list(text_string_to_metric_families(Path(page).read_text()))
    if len(families) < 40:
        yield f"metrics: {len(families)} families"
    for family in families:
        if family.type not in ("counter", "gauge", "histogram") or not family.documentation:
            yield f"metrics: {family.name} is {family.type}: {family.documentation!r}"


folder = Path(sys.argv[1])
for complaints in (kubernetes(folder), compose(folder), promql(folder), metrics(sys.argv[2])):
    for complaint in complaints:
        print(complaint)
