"""The examples of a cluster: files that compose and Kubernetes read, with settings that exist."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from collector.settings.settings import Settings

EXAMPLES = Path(__file__).parents[2] / "docs" / "cluster"
PASSWORD = "${CLUSTER_PASSWORD:?set it in .env}"


def composed() -> dict[str, Any]:
    services: dict[str, Any] = yaml.safe_load((EXAMPLES / "compose.yml").read_text())["services"]
    return services


def deployed() -> list[dict[str, Any]]:
    return [*yaml.safe_load_all((EXAMPLES / "kubernetes.yml").read_text())]


def test_each_composed_collector_has_a_name_and_files_of_its_own() -> None:
    collectors = {name: each for name, each in composed().items() if each["image"] == "collector"}
    loaded = []
    for each in collectors.values():
        environment = {key: value.replace(PASSWORD, "secret") for key, value in each["environment"].items()}
        loaded.append(Settings.load(environment=environment))
    assert {each.cluster_member for each in loaded} == set(collectors)
    assert len({url for each in loaded for url in (each.cluster_url, each.database_url)}) == 1
    assert len({each["volumes"][0].partition(":")[0] for each in collectors.values()}) == len(collectors) == 3
    assert sum(each.address_share for each in loaded) <= 1


def test_what_is_built_has_its_file() -> None:
    for each in composed().values():
        if build := each.get("build"):
            assert (EXAMPLES / build["context"] / build["dockerfile"]).is_file()
            assert each["image"] == "collector"


def test_what_is_composed_has_its_volumes() -> None:
    whole = yaml.safe_load((EXAMPLES / "compose.yml").read_text())
    used = {each.partition(":")[0] for service in whole["services"].values() for each in service["volumes"]}
    assert used == set(whole["volumes"])


@pytest.mark.parametrize("document", deployed(), ids=lambda each: f"{each['kind']}-{each['metadata']['name']}")
def test_each_document_for_kubernetes_is_whole(document: dict[str, Any]) -> None:
    spec = document["spec"]
    if document["kind"] == "Service":
        assert spec["selector"]["app"] == document["metadata"]["name"]
        return
    assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
    claims = {each["metadata"]["name"] for each in spec["volumeClaimTemplates"]}
    (container,) = spec["template"]["spec"]["containers"]
    assert {each["name"] for each in container["volumeMounts"]} == claims
    services = {each["metadata"]["name"] for each in deployed() if each["kind"] == "Service"}
    assert spec["serviceName"] in services


def test_the_collectors_of_kubernetes_have_settings_that_exist() -> None:
    (document,) = [each for each in deployed() if each["kind"] == "StatefulSet" and each["spec"]["replicas"] == 3]
    (container,) = document["spec"]["template"]["spec"]["containers"]
    values = {each["name"]: each.get("value", "collector-0") for each in container["env"]}
    settings = Settings.load(environment=values)
    assert (settings.cluster_member, settings.limit_to_50_entries) == ("collector-0", False)
    assert settings.cluster_url == settings.database_url == "postgresql://collector@collector-database/market"
