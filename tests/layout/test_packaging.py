"""The metadata: pins, files that travel with the wheel, entry points that are installed."""

import configparser
import importlib.metadata
import re
from pathlib import Path

import pytest

import lambo_env

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def config() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(delimiters=("=",))
    parser.optionxform = str
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def distribution(requirement: str) -> str:
    return re.split(r"[\s\[<>=!~]", requirement, maxsplit=1)[0]


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_constraints_pin_exactly_the_direct_dependencies(config: configparser.ConfigParser):
    sections = [config["options"]["install_requires"], *config["options.extras_require"].values()]
    asked = {distribution(line) for section in sections for line in section.split("\n") if line}
    assert set(pins()) - {"setuptools"} == asked - {"lambo-mec"}


def test_the_oldest_versions_are_the_lower_bounds(config: configparser.ConfigParser):
    extras = config["options.extras_require"]
    tools = {"docs", "dev", "all"}
    sections = [config["options"]["install_requires"]]
    sections += [extras[name] for name in extras if name not in tools]
    bounds = {line for section in sections for line in section.split("\n") if ">=" in line}
    written = (ROOT / "constraints-minimum.txt").read_text(encoding="utf-8").splitlines()
    assert {line.replace("==", ">=") for line in written if not line.startswith("#")} == bounds


def test_torch_is_the_agreed_release():
    assert pins()["torch"] == "2.13.0"


@pytest.mark.parametrize("package", ["lambo_env", "lambo_agents", "baselines", "benchmarks"])
def test_data_files_are_declared(config: configparser.ConfigParser, package: str):
    folder = ROOT / package
    patterns = re.split(r",\s*", config["options.package_data"][package])
    declared = {path for pattern in patterns for path in folder.glob(pattern)}
    assert folder / "py.typed" in declared
    present = {
        path for path in folder.rglob("*") if path.is_file() and path.suffix not in {".py", ".pyc"}
    }
    assert present - declared == set()


def test_versions_agree():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {lambo_env.__version__}\n" in citation
    assert importlib.metadata.version("lambo-mec") == lambo_env.__version__


def test_installed_entry_points_are_those_of_setup_cfg(config: configparser.ConfigParser):
    written = dict(
        line.split(" = ")
        for line in config["options.entry_points"]["lambo.agents"].split("\n")
        if line
    )
    installed = {
        point.name: point.value
        for point in importlib.metadata.distribution("lambo-mec").entry_points
        if point.group == "lambo.agents"
    }
    assert installed == written, "the installed metadata is old: run `make setup`"


def test_the_source_distribution_holds_what_the_tests_read():
    lines = (ROOT / "MANIFEST.in").read_text(encoding="utf-8").splitlines()
    included = [name for line in lines if line.startswith("include ") for name in line.split()[1:]]
    assert [name for name in included if not (ROOT / name).is_file()] == []
    missing = {"LICENSE", "CHANGELOG.md", "README.md", "constraints.txt"} - set(included)
    assert not missing
    patterns = next(line for line in lines if line.startswith("recursive-include tests "))
    held = {pattern.removeprefix("*") for pattern in patterns.split()[2:]}
    files = {path for path in (ROOT / "tests").rglob("*") if path.is_file()}
    assert {path.suffix for path in files} - held <= {".pyc"}
    assert "graft docs" in lines
