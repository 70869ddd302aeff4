"""The chart and the plain manifests: rendered, held against the schemas of Kubernetes, and against what we serve."""

import base64
import json
import re
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import jsonschema
import pytest
import yaml

import agentspan
from agentspan.config import SETTINGS, Settings
from agentspan.server import routes, ui
from agentspan.server import worker as built_in
from agentspan.server.metrics import FAMILIES
from tests.cli.running import agentspan as agentspan_command
from tests.cli.running import environment as environment_of
from tests.deployment import manifests, tools
from tests.deployment.manifests import Json, environment, named, of_kind, pods, selects

pytestmark = pytest.mark.xdist_group("deployment")

ROOT = Path(__file__).parents[2]
DEPLOYMENT = ROOT / "deployment"
CHART = DEPLOYMENT / "helm" / "agentspan"
K8S = DEPLOYMENT / "k8s"

SECRETS = ("auth.existingSecret=keys", "masterKey.existingSecret=keys", "database.existingSecret=pg-app")
MASTER_KEY = base64.b64encode(bytes(32)).decode()
VALUES = ("auth.secret=0123456789", f"masterKey.value={MASTER_KEY}")
TOOLS = {"name": "tools", "modules": ["my_tools"]}
SCALE = {"enabled": True, "minReplicas": 1, "maxReplicas": 5}
EVERYTHING = [
    *SECRETS,
    "masterKey.oldKey=old-keys",
    "dashboard.separate=true",
    "builtinWorkers.enabled=true",
    "builtinWorkers.autoscaling.enabled=true",
    "ingress.enabled=true",
    "ingress.className=nginx",
    "serviceMonitor.enabled=true",
    "prometheusRule.enabled=true",
    "grafanaDashboard.enabled=true",
    "workerCredential.existingSecret=worker-key",
    "config.AGENTSPAN_LOG_FORMAT=json",
]
LISTS = {
    "envFromSecrets": ["openai"],
    "ingress.hosts": ["agents.example.org"],
    "ingress.tls": [{"secretName": "tls", "hosts": ["agents.example.org"]}],
    "workers": [
        {**TOOLS, "keda": {**SCALE, "queues": ["word_count", "fetch"], "tasksPerReplica": 16}, "envFromSecrets": ["x"]},
        {**TOOLS, "name": "heavy", "autoscaling": {**SCALE, "targetCPUUtilizationPercentage": 70}},
        {**TOOLS, "name": "few", "replicas": 2, "graceSeconds": 300, "image": {"repository": "mine", "tag": "3"}},
    ],
}
SETS: dict[str, tuple[list[str], Json]] = {
    "existing secrets": ([*SECRETS], {}),
    "trial": ([*VALUES, "postgresql.enabled=true", "postgresql.password=0123456789"], {}),
    "values": ([*VALUES, "database.url=postgresql://u@h/d"], {}),
    "everything": (EVERYTHING, LISTS),
}
FOLDERS = {"base": ["base"], "keda and monitoring": ["base", "keda", "monitoring"], "trial cluster": ["trial"]}


def words(pairs: list[str], lists: Json) -> list[str]:
    options = [word for pair in pairs for word in ("--set", pair)]
    return options + [word for name, value in lists.items() for word in ("--set-json", f"{name}={json.dumps(value)}")]


@cache
def rendered(name: str) -> list[Json]:
    """The manifests of one way to set up: values of the chart, or folders of plain ones."""
    if name in SETS:
        return manifests.parsed(manifests.helm("template", *words(*SETS[name]), "--namespace", "ai", chart=CHART))
    return kustomized(FOLDERS[name])


def kustomized(folders: list[str]) -> list[Json]:
    with tempfile.TemporaryDirectory() as place:
        copy, own = Path(place, "k8s"), Path(place, "own")
        shutil.copytree(K8S, copy)
        shutil.copy(K8S / "trial" / "secrets.env.example", copy / "trial" / "secrets.env")
        own.mkdir()
        base, *components = (f"../k8s/{each}" for each in folders)
        wanted = yaml.safe_dump({"resources": [base], "components": components})
        (own / "kustomization.yaml").write_text(wanted)
        return [*manifests.kustomize(own), *manifests.parsed((K8S / "migrate.yaml").read_text())]


WAYS = [*SETS, *FOLDERS]
ways = pytest.mark.parametrize("way", WAYS)


@pytest.fixture(autouse=True)
def operators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tools.operator_models()))


def ours(way: str) -> list[tuple[str, Json, Json]]:
    return [pod for pod in pods(rendered(way)) if "postgresql" not in pod[0]]


# The chart as a chart


def test_helm_has_nothing_to_say_of_the_chart() -> None:
    for pairs, lists in SETS.values():
        command = [tools.helm(), "lint", "--strict", CHART, *words(pairs, lists)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
        assert "WARNING" not in done.stdout


def test_the_chart_has_the_version_of_the_package() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == agentspan.__version__
    assert {spec["containers"][0]["image"] for _, _, spec in ours("base")} == {f"agentspan:{agentspan.__version__}"}
    assert f"=={agentspan.__version__}" not in chart["kubeVersion"]


@pytest.mark.parametrize(
    ("pairs", "sentence"),
    [
        (["sever.replicas=3"], "sever"),
        (["server.replicas=many"], "server/replicas"),
        (["masterKey.value=short"], "masterKey/value"),
        (["database.url=sqlite:////data/x.db"], "database/url"),
        *[([f"config.{setting.names[0]}=x"], "config") for setting in SETTINGS if setting.secret],
        (["builtinWorkers.kinds={llm,magic}"], "kinds"),
        (["ingress.enabled=true"], "hosts"),
        (["workers[0].name=Tools"], "workers/0"),
        (["workers[0].name=a", "workers[0].modules={m}", "workers[0].keda.enabled=true"], "keda"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_its_name(pairs: list[str], sentence: str) -> None:
    problem = manifests.helm("template", *words([*SECRETS, *pairs], {}), chart=CHART, fails=True)
    assert sentence in problem


@pytest.mark.parametrize("missing", [*SECRETS])
def test_without_a_secret_nothing_is_rendered_but_a_sentence(missing: str) -> None:
    given = [each for each in SECRETS if each != missing]
    problem = manifests.helm("template", *words(given, {}), chart=CHART, fails=True)
    assert f"{missing.partition('=')[0]}: name the Secret" in problem


def test_two_autoscalers_of_one_worker_are_refused() -> None:
    both = {**TOOLS, "keda": {**SCALE, "queues": ["a"], "tasksPerReplica": 1}}
    both["autoscaling"] = {**SCALE, "targetCPUUtilizationPercentage": 50}
    problem = manifests.helm("template", *words([*SECRETS], {"workers": [both]}), chart=CHART, fails=True)
    assert "enable autoscaling or keda, not both" in problem


def test_every_value_has_its_place_in_the_schema() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    jsonschema.Draft7Validator.check_schema(schema)

    def walk(values: Json, known: Json, path: str) -> None:
        for name, value in values.items():
            below = known.get("properties", {}).get(name)
            assert below is not None, f"{path}.{name}"
            if isinstance(value, dict) and below.get("additionalProperties") is False:
                walk(value, below, f"{path}.{name}")

    walk(yaml.safe_load((CHART / "values.yaml").read_text()), schema, "")


# What is rendered


@ways
@pytest.mark.parametrize("version", [manifests.OLDEST, manifests.NEWEST])
def test_every_manifest_is_what_kubernetes_and_the_operators_know(way: str, version: str) -> None:
    for manifest in rendered(way):
        manifests.check(manifest, version)


def test_a_wrong_manifest_would_be_noticed() -> None:
    deployment = json.loads(json.dumps(named(rendered("existing secrets"), "Deployment", "trial-agentspan")))
    deployment["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    with pytest.raises(jsonschema.ValidationError, match="livenesProbe"):
        manifests.check(deployment, manifests.NEWEST)
    (scaled,) = json.loads(json.dumps(of_kind(rendered("everything"), "ScaledObject")))
    scaled["spec"]["triggers"][0]["metdata"] = {}
    with pytest.raises(ValueError, match="metdata"):
        manifests.check(scaled, manifests.NEWEST)


@ways
def test_every_pod_is_restricted(way: str) -> None:
    for name, _, spec in pods(rendered(way)):
        security = spec["securityContext"]
        assert security["runAsNonRoot"] is True, name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert spec["automountServiceAccountToken"] is False, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec), name
        assert not [volume for volume in spec.get("volumes", []) if "hostPath" in volume], name
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name
            assert {"/tmp"} <= {mount["mountPath"] for mount in container["volumeMounts"]}, name
            if "postgresql" not in name:
                assert container["resources"]["requests"], name


@ways
def test_no_service_gives_a_pod_a_variable_that_it_would_take_for_a_setting(way: str) -> None:
    # Kubernetes sets AGENTSPAN_PORT=tcp://... where a Service is called agentspan.
    assert all(spec["enableServiceLinks"] is False for _, _, spec in pods(rendered(way)))


@ways
def test_every_selector_selects_the_pods_that_it_is_for(way: str) -> None:
    found = rendered(way)
    everybody = [labels for _, labels, _ in pods(found)]
    for each in of_kind(found, "Deployment", "StatefulSet"):
        labels = each["spec"]["template"]["metadata"]["labels"]
        assert selects(each["spec"]["selector"], labels)
        others = [other for other in everybody if other != labels]
        assert not [other for other in others if selects(each["spec"]["selector"], other)]
    for service in of_kind(found, "Service"):
        selector = {"matchLabels": service["spec"]["selector"]}
        (spec,) = (spec for _, labels, spec in pods(found) if selects(selector, labels))
        offered = {port["name"] for port in spec["containers"][0]["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= offered
    for monitor in of_kind(found, "ServiceMonitor"):
        services = [each["metadata"]["labels"] for each in of_kind(found, "Service")]
        assert [labels for labels in services if selects(monitor["spec"]["selector"], labels)]
    for monitor in of_kind(found, "PodMonitor"):
        assert [labels for labels in everybody if selects(monitor["spec"]["selector"], labels)]


@ways
def test_a_node_can_be_drained_whatever_runs_on_it(way: str) -> None:
    found = rendered(way)
    budgets = of_kind(found, "PodDisruptionBudget")
    for each in of_kind(found, "Deployment"):
        (budget,) = (
            one for one in budgets if selects(one["spec"]["selector"], each["spec"]["template"]["metadata"]["labels"])
        )
        assert budget["spec"]["maxUnavailable"] == 1
        assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
        assert "minAvailable" not in budget["spec"]


@ways
def test_there_is_time_to_drain(way: str) -> None:
    found = rendered(way)
    for name, _, spec in ours(way):
        container = spec["containers"][0]
        args, waited = container["args"], container.get("lifecycle", {}).get("preStop", {}).get("exec", {})
        before = float(waited["command"][1]) if waited else 0
        drain = float(environment(container, found).get("AGENTSPAN_DRAIN_SECONDS", 0))
        if "--grace" in args:
            drain = float(args[args.index("--grace") + 1])
        assert spec["terminationGracePeriodSeconds"] > before + drain, name


@ways
def test_probes_ask_for_what_the_process_answers_without_credentials(way: str) -> None:
    served = {route.path: route.handler for route in routes.ROUTES}
    probed = 0
    for name, _, spec in ours(way):
        container = spec["containers"][0]
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            if asked := container.get(probe):
                probed += 1
                path = asked["httpGet"]["path"]
                assert served[path].without_credentials, path
                assert path == {"readinessProbe": "/readyz"}.get(probe, "/livez"), name
                if container["args"][0] == "worker":
                    assert path in built_in.PATHS
    assert probed >= 3


@ways
def test_every_variable_is_a_setting_and_has_a_value_that_it_takes(way: str) -> None:
    known = {name for setting in SETTINGS for name in setting.names}
    client = {"AGENTSPAN_SERVER_URL", "AGENTSPAN_API_KEY"}
    for name, _, spec in ours(way):
        given = environment(spec["containers"][0], rendered(way))
        assert set(given) <= known | client, (name, set(given) - known - client)
        plain = {key: value for key, value in given.items() if "/" not in value and key in known}
        Settings.load({"HOME": "/data", **plain})


@ways
def test_a_secret_is_never_a_plain_value_of_a_pod_and_tools_have_none_of_the_servers(way: str) -> None:
    secret = {name for setting in SETTINGS if setting.secret for name in setting.names} | {"AGENTSPAN_DATABASE_URL"}
    for name, labels, spec in ours(way):
        for container in spec["containers"]:
            for each in container.get("env", []):
                if each["name"] in secret | {"AGENTSPAN_API_KEY"}:
                    assert "value" not in each, name
            variables = {each["name"] for each in container.get("env", [])}
            if "AGENTSPAN_SERVER_URL" in variables:
                assert not variables & {"AGENTSPAN_DATABASE_URL", "AGENTSPAN_MASTER_KEY"}, name
        if labels["app.kubernetes.io/component"] == "migrate":
            assert variables == {"AGENTSPAN_DATABASE_URL"}


@ways
def test_whoever_needs_a_secret_names_one_that_is_there_or_that_the_operator_makes(way: str) -> None:
    found = rendered(way)
    made = {each["metadata"]["name"]: each.get("stringData") or each["data"] for each in of_kind(found, "Secret")}
    theirs = {"keys", "pg-app", "worker-key", "openai", "x"} | ({"agentspan"} if way in FOLDERS else set())
    for name, _, spec in pods(found):
        for each in spec["containers"][0].get("env", []):
            if reference := each.get("valueFrom", {}).get("secretKeyRef"):
                inside = made.get(reference["name"])
                assert reference["name"] in theirs if inside is None else reference["key"] in inside, name


@ways
def test_the_network_lets_through_what_is_needed_and_no_more(way: str) -> None:
    found = rendered(way)
    policies = of_kind(found, "NetworkPolicy")
    for name, labels, _ in pods(found):
        mine = [each["spec"] for each in policies if selects(each["spec"]["podSelector"], labels)]
        assert len(mine) == 1, name
        (policy,) = mine
        assert set(policy["policyTypes"]) == {"Ingress", "Egress"}, name
        ports = {port["port"] for rule in policy["egress"] for port in rule["ports"]}
        component = labels["app.kubernetes.io/component"]
        if component == "postgresql":
            assert policy["egress"] == []
            assert policy["ingress"][0]["from"]
        elif component.startswith(("worker", "test")):
            assert policy["ingress"] == []
            assert 6767 in ports
            assert 5432 not in ports
        else:
            assert {53, 5432, 443} <= ports
            assert [port["port"] for rule in policy["ingress"] for port in rule["ports"]] == [6767]
        for rule in policy["egress"]:
            for block in (to["ipBlock"] for to in rule.get("to", []) if "ipBlock" in to):
                if block["cidr"] == "0.0.0.0/0":
                    assert "169.254.0.0/16" in block["except"]


# The chart's own ways


def test_model_calls_are_made_by_the_servers_or_by_workers_of_their_own() -> None:
    alone = named(rendered("existing secrets"), "Deployment", "trial-agentspan")
    apart = named(rendered("everything"), "Deployment", "trial-agentspan")
    worker = named(rendered("everything"), "Deployment", "trial-agentspan-builtin-worker")
    assert variables(alone)["AGENTSPAN_WORKERS"] == "all"
    assert variables(apart)["AGENTSPAN_WORKERS"] == "none"
    args = worker["spec"]["template"]["spec"]["containers"][0]["args"]
    assert args == ["worker", "--kinds", "llm,http,mcp", "--port", "6767"]
    assert "replicas" not in worker["spec"]


def test_the_dashboard_is_the_servers_or_has_pods_of_its_own_for_all_its_pages() -> None:
    assert variables(named(rendered("existing secrets"), "Deployment", "trial-agentspan"))["AGENTSPAN_UI"] == "true"
    found = rendered("everything")
    assert variables(named(found, "Deployment", "trial-agentspan"))["AGENTSPAN_UI"] == "false"
    dashboard = named(found, "Deployment", "trial-agentspan-dashboard")
    assert dashboard["spec"]["template"]["spec"]["containers"][0]["args"] == ["dashboard"]
    (ingress,) = of_kind(found, "Ingress")
    paths = ingress["spec"]["rules"][0]["http"]["paths"]
    to = {path["path"]: path["backend"]["service"]["name"] for path in paths}
    assert to.pop("/") == "trial-agentspan"
    assert set(to.values()) == {"trial-agentspan-dashboard"}
    for pattern, name, _ in ui.PAGES:
        assert any(name == path or name.startswith(f"{path}/") for path in to), pattern


def test_streams_and_websockets_pass_the_ingress() -> None:
    (ingress,) = of_kind(rendered("everything"), "Ingress")
    told = {name.rpartition("/")[2]: value for name, value in ingress["metadata"]["annotations"].items()}
    assert told["proxy-buffering"] == "off"
    assert told["proxy-http-version"] == "1.1"
    assert int(told["proxy-read-timeout"]) >= 3600


def test_the_schema_is_brought_up_before_the_pods_where_there_is_a_database() -> None:
    hooks = {}
    for way in SETS:
        (job,) = of_kind(rendered(way), "Job")
        hooks[way] = job["metadata"]["annotations"]["helm.sh/hook"]
        assert job["spec"]["template"]["spec"]["containers"][0]["args"] == ["migrate"]
    assert hooks.pop("trial") == "pre-upgrade"
    assert set(hooks.values()) == {"pre-install,pre-upgrade"}
    # A hook comes before everything that is none: what it uses must be a hook too, or the operator's.
    for way in SETS:
        (job,) = of_kind(rendered(way), "Job")
        (env,) = job["spec"]["template"]["spec"]["containers"][0]["env"]
        secret = env["valueFrom"]["secretKeyRef"]["name"]
        made = [each for each in of_kind(rendered(way), "Secret") if each["metadata"]["name"] == secret]
        if hooks.get(way) and made:
            assert made[0]["metadata"]["annotations"]["helm.sh/hook"] == hooks[way]
        assert "serviceAccountName" not in job["spec"]["template"]["spec"]


def test_pods_start_anew_when_their_configuration_changes() -> None:
    def checksums(*more: str) -> Json:
        text = manifests.helm("template", *words([*SETS["values"][0], *more], {}), chart=CHART)
        deployment = named(manifests.parsed(text), "Deployment", "trial-agentspan")
        annotations: Json = deployment["spec"]["template"]["metadata"]["annotations"]
        return annotations

    before = checksums()
    assert checksums("server.replicas=3") == before
    assert checksums("config.AGENTSPAN_LOG_LEVEL=debug")["checksum/config"] != before["checksum/config"]
    assert checksums("auth.secret=another-secret")["checksum/secrets"] != before["checksum/secrets"]


def test_the_trials_database_is_reached_by_the_url_that_is_made_for_it() -> None:
    found = rendered("trial")
    url = named(found, "Secret", "trial-agentspan-database")["stringData"]["database-url"]
    assert Settings.load({"HOME": "/", "AGENTSPAN_DATABASE_URL": url}).database_url.endswith("/agentspan")
    assert f"@{named(found, 'Service', 'trial-agentspan-postgresql')['metadata']['name']}:5432/" in url
    assert not of_kind(rendered("existing secrets"), "StatefulSet", "Secret")


@pytest.mark.parametrize("way", ["everything", "keda and monitoring"])
def test_what_scales_and_watches_asks_for_metrics_that_there_are(way: str) -> None:
    found = rendered(way)
    (scaled,) = of_kind(found, "ScaledObject")
    (trigger,) = scaled["spec"]["triggers"]
    known = {family.name for family in FAMILIES}
    asked = set(re.findall(r"agentspan_\w+", trigger["metadata"]["query"]))
    assert asked == {"agentspan_queue_ready", "agentspan_queue_in_flight"}
    assert asked <= known
    assert 'queue=~"word_count' in trigger["metadata"]["query"]
    target = named(found, "Deployment", scaled["spec"]["scaleTargetRef"]["name"])
    assert "replicas" not in target["spec"]
    scalers = {each["spec"]["scaleTargetRef"]["name"] for each in of_kind(found, "HorizontalPodAutoscaler")}
    assert scaled["spec"]["scaleTargetRef"]["name"] not in scalers
    args = target["spec"]["template"]["spec"]["containers"][0]["args"]
    assert trigger["metadata"]["threshold"] == args[args.index("--concurrency") + 1]
    for monitor in of_kind(found, "ServiceMonitor", "PodMonitor"):
        (endpoint,) = monitor["spec"].get("endpoints") or monitor["spec"]["podMetricsEndpoints"]
        assert endpoint["path"] in {route.path for route in routes.ROUTES} & built_in.PATHS
        assert endpoint["authorization"]["type"] == "Bearer"


def test_alerts_and_the_dashboard_are_those_of_the_observability_folder() -> None:
    found = rendered("everything")
    (rule,) = of_kind(found, "PrometheusRule")
    assert rule["spec"] == yaml.safe_load((DEPLOYMENT / "observability" / "alerts.yml").read_text())
    shown = named(found, "ConfigMap", "trial-agentspan-dashboard")
    board = (DEPLOYMENT / "observability" / "grafana" / "agentspan.json").read_text()
    assert json.loads(shown["data"]["agentspan.json"]) == json.loads(board)


def test_the_runbook_of_an_alert_is_where_the_operator_shows_it() -> None:
    options = words([*SECRETS, "prometheusRule.enabled=true", "prometheusRule.runbookBase=https://wiki/agentspan/"], {})
    (rule,) = of_kind(manifests.parsed(manifests.helm("template", *options, chart=CHART)), "PrometheusRule")
    urls = [each["annotations"]["runbook_url"] for group in rule["spec"]["groups"] for each in group["rules"]]
    assert {url.partition("#")[0] for url in urls} == {"https://wiki/agentspan/docs/operations.md"}


def test_the_notes_say_where_to_look_and_warn_of_what_is_for_trials() -> None:
    def notes(way: str) -> str:
        options = words(*SETS[way])
        text = manifests.helm("install", *options, "--dry-run=client", "--namespace", "ai", chart=CHART)
        return text.partition("NOTES:")[2]

    assert "helm --namespace ai test trial" in notes("values")
    assert "port-forward service/trial-agentspan 6767:6767" in notes("values")
    assert "https://agents.example.org/ui/" in notes("everything")
    assert "single pod without a backup" in notes("trial")
    assert "`helm get values` shows them" in notes("values")
    assert "`helm get values` shows them" not in notes("existing secrets")


def variables(deployment: Json) -> dict[str, str]:
    given = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    return {each["name"]: each.get("value", "") for each in given}


# What `helm test` does


def test_the_program_of_helm_test_runs_an_agent_on_a_server_that_has_the_charts_script(tmp_path: Path) -> None:
    found = rendered("existing secrets")
    (tmp_path / "scripts").mkdir()
    for name, text in named(found, "ConfigMap", "trial-agentspan-scripts")["data"].items():
        (tmp_path / "scripts" / name).write_text(text)
    program = tmp_path / "run.py"
    program.write_text(named(found, "ConfigMap", "trial-agentspan-test")["data"]["run.py"])
    started = agentspan_command("server", "start", folder=tmp_path)
    assert started.returncode == 0, started.stderr
    try:
        (url,) = re.findall(r"http://[\w.:]+", started.stdout)
        environ = environment_of(tmp_path, AGENTSPAN_SERVER_URL=url)
        done = subprocess.run([sys.executable, program], env=environ, capture_output=True, text=True, timeout=60)
    finally:
        agentspan_command("server", "stop", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "The sum is 42." in done.stdout
