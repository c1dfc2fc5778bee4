"""The 5G logs: rates of the Download runs, and archives that are not right."""

import zipfile

import numpy as np
import pytest
from data_files import shared_data

import lambo_env
from lambo_env.datasets import Ucc5gSource, load_ucc_5g

RUN = "5G-production-dataset/Download/Static/run.csv"
LOG = "Timestamp,DL_bitrate,UL_bitrate\nt,72,20\nt,0,0\nt,1500,40\n"


def archive(path, **members):
    with zipfile.ZipFile(path, "w") as file:
        for name, text in members.items():
            file.writestr(name, text)
    return path


def test_rates_are_kilobits(tmp_path):
    others = {"__MACOSX/" + RUN: "?", RUN.replace("Download", "Netflix"): "?"}
    path = archive(tmp_path / "ucc.zip", **{RUN: LOG}, **others)
    runs = load_ucc_5g(path)
    assert list(runs) == ["Static/run.csv"]
    assert runs["Static/run.csv"].tolist() == [72e3, 0.0, 1.5e6]
    instances = Ucc5gSource(path).sample(3, np.random.default_rng(0))
    assert set(np.unique(instances.uplink_bps)) == {72e3, 1.5e6}
    twin = lambo_env.sample_instances(
        lambo_env.load_scenario("nr-umi"), 3, np.random.default_rng(0)
    )
    assert (instances.cycles == twin.cycles).all()


def test_the_archive_itself():
    runs = load_ucc_5g(shared_data("ucc-5G-production-dataset.zip"))
    rates = np.concatenate(list(runs.values()))
    assert len(runs) == 21 and rates.size == 43208
    assert rates.max() < 2e9 and np.median(rates[rates > 0]) == pytest.approx(13.098e6)


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({"readme.txt": "hello"}, "runs of .* is 0; allowed: 5G-production-dataset/Download/"),
        ({RUN: "Timestamp,UL_bitrate\nt,3\n"}, "columns of .*run.csv"),
        ({RUN: LOG + "t,-\n"}, "line 5, DL_bitrate is '-'"),
        ({RUN: LOG + "t,-4\n"}, r"DL_bitrate x 1000\[3\] is -4000"),
        ({RUN: LOG + "t,inf\n"}, "line 5, DL_bitrate is 'inf'"),
        ({RUN: "Timestamp,DL_bitrate\n"}, "rows of .*run.csv is 0"),
    ],
)
def test_archives_that_are_not_right(tmp_path, members, text):
    with pytest.raises(ValueError, match=text):
        load_ucc_5g(archive(tmp_path / "ucc.zip", **members))


def test_damage_names_the_archive(tmp_path):
    path = archive(tmp_path / "ucc.zip", **{RUN: LOG})
    whole = path.read_bytes()
    for damaged in (b"", whole[:40], whole.replace(b"72,20", b"73,20"), b"PK" + b"\0" * 99):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"path is '.*ucc.zip'"):
            load_ucc_5g(path)
    with pytest.raises(ValueError, match="path is 'absent.zip'; allowed: an existing file"):
        load_ucc_5g("absent.zip")
    idle = archive(tmp_path / "idle.zip", **{RUN: "Timestamp,DL_bitrate\nt,0\n"})
    with pytest.raises(ValueError, match="with a rate above 0 is 0"):
        Ucc5gSource(idle)
