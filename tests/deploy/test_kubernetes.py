"""What the manifests promise: pods that may do little, and speak to whom the architecture's picture says; no secret."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic_settings import BaseSettings

import services.aggregator.settings as aggregator
import services.bank_client.settings as bank
import services.reporter.settings as reporter
from deploy.manifests import OVERLAYS, Object, faults, objects
from deploy.renderer import Renderer

ROOT = Path(__file__).parents[2]
SETTINGS: dict[str, type[BaseSettings]] = {
    "aggregator": aggregator.Settings,
    "bank": bank.Settings,
    "reporter": reporter.Settings,
}
COMPONENTS = {"simulation": {"aggregator", "bank", "reporter"}, "network": {"aggregator", "reporter"}, "bank": {"bank"}}
COMPONENT = "app.kubernetes.io/component"
PORTS = [("TCP", 7443), ("TCP", 7444)]
Rendered = dict[str, list[Object]]

each = pytest.mark.parametrize("overlay", sorted(COMPONENTS))


def of_kind(found: list[Object], *kinds: str) -> dict[str, Any]:
    return {one["metadata"]["name"]: one for one in found if one["kind"] in kinds}


def workloads(found: list[Object]) -> dict[str, Any]:
    """What has pods, by its component."""
    present = of_kind(found, "StatefulSet", "Deployment", "DaemonSet", "Job", "CronJob", "Pod", "ReplicaSet").values()
    return {one["spec"]["template"]["metadata"]["labels"][COMPONENT]: one for one in present}


def pods(found: list[Object]) -> dict[str, Any]:
    return {name: one["spec"]["template"]["spec"] for name, one in workloads(found).items()}


def containers(pod: Any) -> list[Any]:  # noqa: ANN401  # a pod's specification
    return [*pod.get("initContainers", []), *pod["containers"]]


def settings_of(found: list[Object], container: Any) -> dict[str, str]:  # noqa: ANN401  # a container's specification
    """What the container's maps set; by name they are each the hash of what they hold."""
    maps = of_kind(found, "ConfigMap")
    return {k: v for one in container.get("envFrom", []) for k, v in maps[one["configMapRef"]["name"]]["data"].items()}


def policies(found: list[Object], component: str) -> list[Any]:
    """Those that select the component's pods."""

    def selects(selector: Any) -> bool:  # noqa: ANN401  # a label selector
        wanted = selector.get("matchLabels", {}).get(COMPONENT, component)
        listed = [one for one in selector.get("matchExpressions", []) if component not in one["values"]]
        return bool(wanted == component and not listed)

    return [one["spec"] for one in of_kind(found, "NetworkPolicy").values() if selects(one["spec"]["podSelector"])]


def ways(found: list[Object], component: str, direction: str) -> Iterator[tuple[str, list[tuple[str, int]]]]:
    """Whom a component's pods may speak to, or hear from, and on which ports."""
    for policy in policies(found, component):
        for rule in policy.get(direction, []):
            ports = [(port["protocol"], port["port"]) for port in rule["ports"]]
            for peer in rule["from" if direction == "ingress" else "to"]:
                for name in named(peer):
                    yield name, ports


def named(peer: Any) -> list[str]:  # noqa: ANN401  # one peer of a policy
    if "ipBlock" in peer:
        return [peer["ipBlock"]["cidr"]]
    selector = peer["podSelector"]
    if "namespaceSelector" in peer:
        return [selector["matchLabels"]["k8s-app"]]
    if "matchLabels" in selector:
        return [selector["matchLabels"][COMPONENT]]
    return [value for one in selector["matchExpressions"] for value in one["values"]]


@each
def test_it_has_its_parts_and_no_other(rendered: Rendered, overlay: str) -> None:
    kinds = {name: one["kind"] for name, one in workloads(rendered[overlay]).items()}
    every = {"aggregator": "StatefulSet", "bank": "StatefulSet", "reporter": "Deployment"}
    assert kinds == {name: kind for name, kind in every.items() if name in COMPONENTS[overlay]}
    assert {one["metadata"].get("namespace", "fedfraud") for one in rendered[overlay]} == {"fedfraud"}
    (namespace,) = of_kind(rendered[overlay], "Namespace").values()
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@each
def test_every_container_may_do_little(rendered: Rendered, overlay: str) -> None:
    for pod in pods(rendered[overlay]).values():
        assert pod["securityContext"] == {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "runAsGroup": 10001,
            "fsGroup": 10001,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC", "serviceAccountName", "nodeName"} & pod.keys()
        assert {kind for volume in pod["volumes"] for kind in volume if kind != "name"} <= {
            "emptyDir",
            "persistentVolumeClaim",
            "secret",
        }
        for container in containers(pod):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert set(container["resources"]) == {"requests", "limits"}
            assert "memory" in container["resources"]["limits"]


@each
def test_what_is_mounted_is_there_and_what_is_handed_over_is_read_only(rendered: Rendered, overlay: str) -> None:
    for name, workload in workloads(rendered[overlay]).items():
        pod = workload["spec"]["template"]["spec"]
        claims = [one["metadata"]["name"] for one in workload["spec"].get("volumeClaimTemplates", [])]
        assert claims == ([] if name == "reporter" else ["data"])
        volumes = {one["name"]: one for one in pod["volumes"]}
        assert {one["name"] for each in containers(pod) for one in each["volumeMounts"]} == {*volumes, *claims}
        for mount in (mount for each in containers(pod) for mount in each["volumeMounts"]):
            if "secret" in volumes.get(mount["name"], {}) or mount["name"] == "rows":
                assert mount["readOnly"] is True


@each
def test_probes_ask_the_health_service(rendered: Rendered, overlay: str) -> None:
    asks = ["python", "-m", "fedfraud.health", "/tmp/health.sock"]  # noqa: S108  # the container's own
    for pod in pods(rendered[overlay]).values():
        (container,) = pod["containers"]
        assert settings_of(rendered[overlay], container)["HEALTH_SOCKET"] == asks[-1]
        assert container["readinessProbe"]["exec"]["command"] == asks
        for probe in ("startupProbe", "livenessProbe"):
            assert container[probe]["exec"]["command"] == [*asks, "--alive"]
            assert container[probe]["timeoutSeconds"] >= 10  # a process starts


@each
def test_every_setting_is_one_of_its_service_and_would_be_taken(
    rendered: Rendered, overlay: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    example = (ROOT / ".env.example").read_text()
    for name, pod in pods(rendered[overlay]).items():
        (container,) = pod["containers"]
        values = settings_of(rendered[overlay], container)
        assert values.keys() <= {field.upper() for field in SETTINGS[name].model_fields}
        assert [setting for setting in values if f"#{setting}=" not in example] == []
        with monkeypatch.context() as environment:
            for setting, value in values.items():
                environment.setenv(setting, value)
            SETTINGS[name]()


@each
def test_images_are_those_that_the_dockerfile_makes(rendered: Rendered, overlay: str) -> None:
    targets = re.findall(r"^FROM \S+ AS (\S+)$", (ROOT / "Dockerfile").read_text(), re.M)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    made = {f"fedfraud-{target}:{version}" for target in targets if target in {"aggregator", "bank_client", "reporter"}}
    used = {container["image"] for pod in pods(rendered[overlay]).values() for container in containers(pod)}
    assert len(made) == 3
    assert used <= made


@each
def test_nobody_speaks_to_anybody_but_by_the_lines_of_the_picture(rendered: Rendered, overlay: str) -> None:
    found = rendered[overlay]
    (nobody,) = [one["spec"] for one in of_kind(found, "NetworkPolicy").values() if not one["spec"]["podSelector"]]
    assert nobody == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    names = ("kube-dns", [("UDP", 53), ("TCP", 53)])
    aggregator_at = "203.0.113.10/32" if overlay == "bank" else "aggregator"
    for component in COMPONENTS[overlay]:
        inward, outward = (sorted(ways(found, component, way)) for way in ("ingress", "egress"))
        if component == "aggregator":
            callers = (
                ["bank", "reporter"] if overlay == "simulation" else ["192.0.2.10/32", "198.51.100.0/28", "reporter"]
            )
            assert (inward, outward) == ([(caller, PORTS) for caller in callers], [])
        else:
            assert (inward, outward) == ([], sorted([(aggregator_at, PORTS), names]))


@each
def test_no_secret_is_in_it_and_each_is_one_that_the_guide_makes(rendered: Rendered, overlay: str) -> None:
    found = rendered[overlay]
    assert of_kind(found, "Secret") == {}
    guide = (ROOT / "docs" / "deploy.md").read_text()
    volumes = [volume for pod in pods(found).values() for volume in pod["volumes"]]
    for name in {volume["secret"]["secretName"] for volume in volumes if "secret" in volume}:
        assert f"create secret generic {name} " in guide


@each
def test_a_budget_stands_between_a_drain_and_what_has_a_claim(rendered: Rendered, overlay: str) -> None:
    budgets = {name: one["spec"] for name, one in of_kind(rendered[overlay], "PodDisruptionBudget").items()}
    assert budgets.keys() == COMPONENTS[overlay] - {"reporter"}
    for name, budget in budgets.items():
        assert budget["selector"] == {"matchLabels": {COMPONENT: name}}
        assert (budget.get("minAvailable"), budget.get("maxUnavailable")) == (
            (1, None) if name == "aggregator" else (None, 1)
        )


def test_the_network_expects_the_banks_that_it_starts(rendered: Rendered) -> None:
    found = rendered["simulation"]
    (container,) = pods(found)["aggregator"]["containers"]
    expected = settings_of(found, container)["EXPECTED_BANKS"]
    assert workloads(found)["bank"]["spec"]["replicas"] == int(expected) == 10


def test_a_simulated_bank_is_made_and_serves_by_one_command(rendered: Rendered) -> None:
    bank = pods(rendered["simulation"])["bank"]
    (container,) = containers(bank)
    assert container["command"] == ["python", "-m", "services.bank_client", "simulate"]


def test_a_real_bank_has_its_rows_checked_before_it_takes_a_seat(rendered: Rendered) -> None:
    bank = pods(rendered["bank"])["bank"]
    assert [container["name"] for container in bank["initContainers"]] == ["merchant-key", "check-data", "enrol"]


def test_the_aggregator_of_real_banks_is_dialled_from_outside_and_knows_its_own_names(rendered: Rendered) -> None:
    found = rendered["network"]
    outside = of_kind(found, "Service")["aggregator-outside"]["spec"]
    assert (outside["type"], outside["externalTrafficPolicy"]) == ("LoadBalancer", "Local")
    (container,) = pods(found)["aggregator"]["containers"]
    values = settings_of(found, container)
    inside = aggregator.Settings.model_fields["hostnames"].default
    assert values["HOSTNAMES"].startswith(f"{inside},")
    assert values["SIMULATION"] == "false"


@pytest.mark.parametrize("overlay", ["network", "simulation"])
def test_a_key_for_openai_is_a_file_and_opens_https_outside_for_the_reporter_alone(
    kustomize: Renderer, rendered: Rendered, overlay: str, tmp_path: Path
) -> None:
    assert "openai" not in str(rendered[overlay]).lower()
    parts = {"resources": OVERLAYS / overlay, "components": OVERLAYS.parent / "components" / "openai"}
    lines = [f"{kind}: [{relative(path, tmp_path)}]" for kind, path in parts.items()]
    (tmp_path / "kustomization.yaml").write_text("\n".join(lines))
    found = objects(kustomize, tmp_path)
    assert [fault for one in found for fault in faults(one)] == []
    (container,) = pods(found)["reporter"]["containers"]
    assert settings_of(found, container)["OPENAI_API_KEY_FILE"] == "/run/openai/openai_api_key"
    assert {"name": "openai", "mountPath": "/run/openai", "readOnly": True} in container["volumeMounts"]
    assert ("0.0.0.0/0", [("TCP", 443)]) in ways(found, "reporter", "egress")
    assert list(ways(found, "aggregator", "egress")) == []


def relative(path: Path, folder: Path) -> str:
    """Kustomize takes no absolute path."""
    up = "/".join([".."] * (len(folder.resolve().parts) - 1))
    return f"{up}{path}"
