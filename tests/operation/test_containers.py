"""The image and the compose file: read as Docker reads them, and tried as far as that goes without an engine."""

import fnmatch
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
import yaml

from collector.pipeline.draining import _DRAIN_S
from collector.settings.sources import is_variable
from tests.operation.containers import Building, Instruction, instructions
from tests.support.market import market, served

ROOT = Path(__file__).parents[2]
HERE = ROOT / "docs" / "containers"
ALL = [*instructions((HERE / "Dockerfile").read_text())]
SECOND = max(number for number, each in enumerate(ALL) if each.name == "FROM")
BUILD, IMAGE = ALL[:SECOND], ALL[SECOND:]
COMPOSE: dict[str, Any] = yaml.safe_load((HERE / "compose.yml").read_text())
OURS: dict[str, Any] = COMPOSE["services"]["collector"]
needs_compose = pytest.mark.skipif(shutil.which("docker-compose") is None, reason="there is no docker-compose")


def the(name: str, stage: list[Instruction] = IMAGE) -> Instruction:
    (found,) = [each for each in stage if each.name == name]
    return found


def environment() -> dict[str, str]:
    """What the image sets."""
    return dict(word.split("=", 1) for word in the("ENV").words)


def seconds(text: str) -> int:
    return int(text.removesuffix("s"))


def test_the_image_copies_what_there_is_and_what_is_not_ignored() -> None:
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    sources = [word for each in BUILD if each.name == "COPY" for word in each.words[:-1]]
    assert {"pyproject.toml", "collector"} <= set(sources)
    assert all((ROOT / source).exists() and any(fnmatch.fnmatch(source, each) for each in kept) for source in sources)


def test_the_image_runs_as_a_user_of_its_own() -> None:
    number = the("USER").text.split(":")[0]
    assert number.isdecimal()
    assert int(number) > 0
    assert f"--uid {number}" in the("RUN").text


def test_the_image_s_python_is_one_that_is_promised() -> None:
    lowest = re.findall(r'requires-python = ">=3\.(\d+)"', (ROOT / "pyproject.toml").read_text())[0]
    bases = {each.text.split()[0] for each in ALL if each.name == "FROM"}
    assert len(bases) == 1
    assert int(bases.pop().removeprefix("python:3.").partition("-")[0]) >= int(lowest)


def test_variables_of_image_and_compose_are_settings() -> None:
    given = {*environment(), *OURS["environment"]}
    assert all(is_variable(name) for name in given if name.startswith("COLLECTOR_"))


def test_data_and_logs_are_volumes_where_the_collector_writes() -> None:
    home = the("WORKDIR").text
    assert the("VOLUME").words == [f"{home}/data", f"{home}/logs"]
    mounted = {each.split(":")[1] for each in OURS["volumes"]}
    assert {*the("VOLUME").words, f"{home}/settings.ini"} == mounted
    assert all(f"{home}/{name}" in the("RUN").text for name in ("data", "logs"))


def test_a_stop_has_the_time_that_it_may_take() -> None:
    assert the("STOPSIGNAL").text == "SIGTERM"
    assert seconds(OURS["stop_grace_period"]) > _DRAIN_S + 10


def test_prometheus_may_ask_by_the_name_of_the_service() -> None:
    (scraped,) = yaml.safe_load((ROOT / "docs" / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    host, port = scraped["static_configs"][0]["targets"][0].split(":")
    assert host in COMPOSE["services"]
    assert host == environment()["COLLECTOR_LISTEN_NAMES"]
    assert environment()["COLLECTOR_LISTEN"].endswith(f":{port}")
    assert the("EXPOSE").text == port


def test_ports_are_open_to_this_machine_alone() -> None:
    ports = [port for service in COMPOSE["services"].values() for port in service["ports"]]
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_what_compose_mounts_exists_and_its_volumes_are_declared() -> None:
    for service in COMPOSE["services"].values():
        for source in (each.split(":")[0] for each in service["volumes"]):
            assert (HERE / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]


def test_logs_of_containers_are_rotated_and_images_have_versions() -> None:
    for name, service in COMPOSE["services"].items():
        assert {"max-size", "max-file"} <= service["logging"]["options"].keys()
        assert name == "collector" or re.search(r":v?\d+\.\d+", service["image"])


def test_grafana_finds_prometheus_and_the_dashboard() -> None:
    provisioning = ROOT / "docs" / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "collector.yml").read_text())["providers"]
    mounted = dict(reversed(each.split(":")[:2]) for each in COMPOSE["services"]["grafana"]["volumes"])
    assert source["url"] == "http://prometheus:9090"
    assert (HERE / mounted[provider["options"]["path"]] / "collector.json").exists()


@needs_compose
def test_docker_compose_accepts_the_file() -> None:
    ended = subprocess.run(
        ["docker-compose", "-f", HERE / "compose.yml", "config"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr


@pytest.mark.slow
def test_what_the_image_builds_collects_is_healthy_and_stops_in_good_order(tmp_path: Path) -> None:
    """The steps of the build stage, its entry point, its health check and its stop, without an engine."""
    home, installed = tmp_path / "home", tmp_path / "opt"
    building = Building(ROOT, {"/opt/collector": installed, "/src": tmp_path / "src"})
    building.run(BUILD, sys.executable)
    home.mkdir()
    check = the("HEALTHCHECK").text.partition("CMD ")[2]
    ours = {"PATH": f"{installed / 'bin'}:{os.environ['PATH']}", "HOME": str(home)}
    ours |= {name: value for name, value in environment().items() if name.startswith("COLLECTOR_")}
    ours |= {"COLLECTOR_LISTEN": "0.0.0.0:18787", "COLLECTOR_SYMBOLS": "BTCUSDT", "COLLECTOR_TIMEFRAMES": "60"}
    with served(market()) as box:
        ours |= {"COLLECTOR_REST_URL": box.url, "COLLECTOR_BAN_WAIT_S": "1"}
        words = [*the("ENTRYPOINT").words, *the("CMD").words]
        words[0] = str(installed / "bin" / words[0])
        with subprocess.Popen(words, cwd=home, env=ours) as process:
            health = [str(installed / "bin" / "python"), *Instruction("CMD", check.replace("8787", "18787")).words[1:]]
            began_s, file = monotonic(), home / "data" / "BTCUSDT_60.csv"
            while subprocess.run(health, env=ours, capture_output=True, check=False).returncode or not file.exists():
                assert process.poll() is None
                assert monotonic() - began_s < 60
                sleep(0.2)  # a process outside tells nobody when it is ready
            process.send_signal(getattr(signal, the("STOPSIGNAL").text))
            assert process.wait(60) == 0
    assert subprocess.run(health, env=ours, capture_output=True, check=False).returncode == 1
    assert len(file.read_text().splitlines()) == 51
