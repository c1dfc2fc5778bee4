"""The file of ARE's authors: what is read, and everything that makes it wrong."""

import numpy as np
import pytest
import scipy.io

from lambo_env.datasets.are import load_are


@pytest.fixture
def write_mat(tmp_path):
    """Write a file of 3 scenarios, 2 UEs and 4 servers in the authors' layout, with changes."""

    def write(ending=None, **changes):
        numbers = {
            "Dcom": [1e6] * 2,
            "Fcom": [1e9] * 2,
            "fGS": [1e10] * 4,
            "B": 1e6,
            "p": 1,
            "PL": 1,
            "delta": 1e-12,
            "fL": 1e9,
        }
        para = numbers | {
            name[5:]: value for name, value in changes.items() if name.startswith("para_")
        }
        content = {
            "h": np.full((8, 3), 1e-3),
            "para": para,
            "Ytrain": np.array([[0, 0], [4, 0.5]] * 3),
        }
        path = tmp_path / "are.mat"
        scipy.io.savemat(
            path, content | {name: v for name, v in changes.items() if not name.startswith("para_")}
        )
        path.write_bytes(path.read_bytes()[:ending])
        return path

    return write


def test_a_file_in_the_authors_layout_loads(write_mat):
    instances, labels = load_are(write_mat())
    assert (len(instances), instances.num_ues, instances.num_servers) == (3, 2, 4)
    np.testing.assert_array_equal(labels.place, [[0, 4]] * 3)
    np.testing.assert_allclose(labels.cpu_hz, [[0, 5e9]] * 3)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"h": np.full((8, 3), -1e-3)}, r"h\[0, 0\] is -0.001; allowed: finite and > 0"),
        ({"h": np.full((8, 3), np.nan)}, r"h\[0, 0\] is nan"),
        ({"h": np.array([["a"] * 3] * 8)}, r"h.dtype is .*; allowed: numbers"),
        ({"h": np.full((12, 3), 1e-3)}, r"h.shape is \(12, 3\); allowed: \(8, scenarios\)"),
        ({"Ytrain": np.zeros((5, 2))}, r"Ytrain.shape is \(5, 2\); allowed: \(6, 2\)"),
        (
            {"Ytrain": np.array([[0, 0], [5, 0.5]] * 3)},
            r"Ytrain\[1\] is 5.0; allowed: a place, 0..4",
        ),
        ({"Ytrain": np.array([[0, 0], [4, 1.5]] * 3)}, r"Ytrain\[1\] is 1.5; allowed: a share"),
        ({"para": np.ones((3, 3))}, "fields of para is .*; allowed: the layout of ARE's Data1.mat"),
        ({"para_fL": -1e9}, r"para.fL\[0\] is -1000000000"),
        ({"para_B": []}, r"para.B.size is 0"),
        ({"ending": 300}, "a whole MATLAB 5 file of ARE's data set"),
        ({"ending": 0}, "a whole MATLAB 5 file of ARE's data set"),
    ],
)
def test_wrong_and_truncated_files_are_refused(write_mat, changes, text):
    with pytest.raises(ValueError, match=text):
        load_are(write_mat(**changes))
