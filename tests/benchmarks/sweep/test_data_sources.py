"""Rows of measured data: played where the files are, left out with the reason where not."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from data_files import shared_data

from benchmarks import cli
from benchmarks.commands.bench import BenchOptions, choose, credits_of, present
from benchmarks.sweep.data_sources import VARIABLE, DataSource
from benchmarks.sweep.instance_sources import scenario_source

ROWS = ("real sites", "real rates")
SWEEP = """
agents = ["local", "greedy"]
scenarios = [
    "tiny",
    { name = "real sites", data = "eua", base = "tiny" },
    { name = "real rates", data = "ucc-5g", base = "tiny" },
]
prompts = ["minimum latency"]
instances = 2
"""


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAMBO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(VARIABLE, raising=False)
    (tmp_path / "mine.toml").write_text(SWEEP)
    return tmp_path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Files of the two shapes, made up."""
    folder, rng = tmp_path / "data", np.random.default_rng(0)
    folder.mkdir()
    for name, header, count in (
        ("eua-site-optus-melbCBD.csv", "LATITUDE,LONGITUDE", 9),
        ("eua-users-melbcbd-generated.csv", "Latitude,Longitude", 40),
    ):
        places = rng.uniform((-37.82, 144.95), (-37.81, 144.97), (count, 2))
        lines = [header, *(f"{lat},{lon}" for lat, lon in places)]
        (folder / name).write_text("\n".join(lines) + "\n")
    log = io.StringIO("DL_bitrate\n" + "\n".join(map(str, rng.integers(1, 99999, 50))) + "\n")
    with zipfile.ZipFile(folder / "ucc-5G-production-dataset.zip", "w") as archive:
        archive.writestr("5G-production-dataset/Download/Static/run.csv", log.getvalue())
    return folder


def test_absent_data_leave_the_rows_out_and_say_why(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["bench", "mine.toml", "--jobs", "1", "--no-figures"]) == 0
    out = capsys.readouterr().out
    assert "2 cells played" in out and "real sites: left out: no site-optus-melbCBD.csv" in out
    assert (
        "real rates: left out: no 5G-production-dataset.zip named by --data-folder or LAMBO_DATA"
        in out
    )
    assert "licence" not in out


@pytest.mark.parametrize("by", ["option", "variable"])
def test_the_rows_are_played_where_the_files_are(
    data: Path, by: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    if by == "variable":
        monkeypatch.setenv(VARIABLE, str(data))
    further = ["--data-folder", str(data)] if by == "option" else []
    assert cli.main(["bench", "mine.toml", "--jobs", "1", "--no-figures", *further]) == 0
    out = capsys.readouterr().out
    assert "6 cells played" in out and "left out" not in out
    assert "doi 10.1007/978-3-030-03596-9_15; licence: MIT" in out
    assert "doi 10.1145/3339825.3394938; licence: none named in the archive" in out


def test_one_file_of_two_is_not_enough(data: Path):
    (data / "eua-users-melbcbd-generated.csv").unlink()
    sweep, left_out = present(choose(BenchOptions("mine.toml", data_folder=data)))
    assert [source.name for source in sweep.scenarios] == ["tiny", "real rates"]
    assert left_out == [
        f"real sites: left out: no users-melbcbd-generated.csv in {data} "
        "(from github.com/swinedge/eua-dataset)"
    ]
    (data / "ucc-5G-production-dataset.zip").unlink()
    with pytest.raises(ValueError, match="real rates: left out"):
        present(choose(BenchOptions("mine.toml", data_folder=data, scenarios="real rates")))


def test_instances_follow_the_files_and_the_block(data: Path):
    rows = [
        scenario_source({"name": name, "data": kind, "base": "tiny"})
        for name, kind in zip(ROWS, ("eua", "ucc-5g"), strict=True)
    ]
    for row in rows:
        assert isinstance(row, DataSource)
        here = DataSource(row.name, row.data, row.scenario, data)
        again = DataSource(row.name, row.data, row.scenario, data)
        assert here.load(0, 1, 3) == again.load(0, 1, 3) != here.load(0, 2, 3)
        before = here.hash
        for path in data.iterdir():
            with path.open("ab") as file:
                file.write(b"\n")
        assert DataSource(row.name, row.data, row.scenario, data).hash != before


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ({"name": "x", "data": "eue"}, "unknown Sweep.scenarios.data 'eue'; did you mean 'eua'"),
        ({"data": "eua"}, "Sweep.scenarios.name is None"),
        ({"name": "x", "data": "eua", "num_ues": 3}, "Sweep.scenarios.num_ues: unknown field"),
        ({"name": "x", "data": "eua", "base": "papr"}, "did you mean 'paper'"),
    ],
)
def test_a_bad_row_is_named(entry: dict[str, object], text: str):
    with pytest.raises(ValueError, match=text):
        scenario_source(entry)


def test_a_folder_that_is_none_is_named():
    with pytest.raises(ValueError, match="--data-folder is 'gone'; allowed: an existing folder"):
        choose(BenchOptions("mine.toml", data_folder=Path("gone")))


def test_the_shipped_sweep_has_both_rows():
    sweep = choose(BenchOptions("generalise"))
    assert {source.name for source in sweep.scenarios} >= {*ROWS}
    assert len(credits_of(sweep)) == 2


@pytest.mark.slow
def test_the_published_files_are_played():
    folder = shared_data("ucc-5G-production-dataset.zip").parent
    shared_data("eua-site-optus-melbCBD.csv")
    sweep = choose(
        BenchOptions("generalise", data_folder=folder, scenarios="real sites,real rates")
    )
    for source in present(sweep)[0].scenarios:
        assert source.load(0, 0, 2).uplink_bps.shape == (2, 50, 4)
