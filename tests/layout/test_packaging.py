"""The metadata: pins, files that travel with the wheel, entry points that are installed."""

import configparser
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

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


@pytest.fixture(scope="module")
def build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_settings", ROOT / "setup.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_without_an_address_nothing_is_added(build: ModuleType):
    assert build.metadata("", "main") == {}


def test_an_address_makes_every_link_of_the_readme_absolute(build: ModuleType):
    added = build.metadata("https://example.org/someone/suite/", "v1")
    text = added["long_description"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    relative = re.findall(r"\]\((?!https?:)([^)\s]+)\)", readme)
    assert len(relative) > 10
    assert re.findall(r"\]\((?!https?:)([^)\s]+)\)", text) == []
    base = "https://example.org/someone/suite"
    assert f"]({base}/raw/v1/docs/pictures/episode.gif)" in text
    assert f"]({base}/blob/v1/docs/results.md#who-transfers)" in text
    assert added["project_urls"]["Changelog"] == f"{base}/blob/v1/CHANGELOG.md"


def test_only_links_to_files_of_the_tree_change(build: ModuleType):
    text = "[a](https://x.org/y) `b[0](c)` [d](#e) [f](LICENSE) ![g](gone.png)"
    told = build.absolute(text, "https://h.org/n", "main")
    assert told == text.replace("LICENSE", "https://h.org/n/blob/main/LICENSE")


@pytest.mark.parametrize(
    ("url", "ref", "named"),
    [
        ("example.org/x", "main", "LAMBO_URL is 'example.org/x'; allowed: https://"),
        ("https://example.org", "main", "LAMBO_URL"),
        ("https://example.org/a b", "main", "LAMBO_URL"),
        ("https://example.org/x", "a b", "LAMBO_REF is 'a b'"),
    ],
)
def test_a_bad_address_is_refused(build: ModuleType, url: str, ref: str, named: str):
    with pytest.raises(ValueError, match=named):
        build.metadata(url, ref)


@pytest.mark.slow
@pytest.mark.parametrize("url", ["", "https://example.org/someone/suite"])
def test_a_built_wheel_has_the_links(tmp_path: Path, url: str):
    source = tmp_path / "source"
    names = ["setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"]
    for name in names:
        (source / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    for package in ("lambo_env", "docs"):  # what is linked to, and the version
        shutil.copytree(ROOT / package, source / package)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "made"]
    env = {**os.environ, "LAMBO_URL": url, "LAMBO_REF": ""}
    subprocess.run([*command, str(source)], cwd=tmp_path, env=env, check=True, capture_output=True)
    (wheel,) = (tmp_path / "made").glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        (name,) = [name for name in file.namelist() if name.endswith(".dist-info/METADATA")]
        text = file.read(name).decode()
    assert ("Project-URL: Source, https://example.org/someone/suite\n" in text) == bool(url)
    assert ("(docs/pictures/episode.gif)" in text) == (not url)
    picture = "(https://example.org/someone/suite/raw/main/docs/pictures/episode.gif)"
    assert (picture in text) == bool(url)
    assert "Description-Content-Type: text/markdown" in text
