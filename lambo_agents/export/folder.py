"""An exported network on disk: graphs and a manifest. Importing this loads no torch.

``manifest.json`` names the network's config, where its weights came from, and each graph with the
hash of its file, so that a graph of another network is never run.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from lambo_env.utils import files, jsons, validate

FORMAT = "lambo-export-1"
MANIFEST = "manifest.json"
GRAPHS = ("read", "encode", "plan", "decide")
_MARK = f'"format": "{FORMAT}"'.encode()
_SHAPE = {
    "format": str,
    "target": str,
    "precision": str,
    "weights": str,
    "bins": int,
    "parameters": int,
    "labels": int,
    "graphs": dict,
}


@dataclasses.dataclass(frozen=True)
class Exported:
    """What a manifest says."""

    target: str  # onnx or pt2
    precision: str  # fp32 or int8
    weights: str  # name or path that the network was loaded from
    bins: int  # meanings that a text may have
    parameters: int
    labels: int  # that the network's training saw
    graphs: Mapping[str, str]  # name -> SHA-256 of its file

    @classmethod
    def read(cls, folder: str | os.PathLike[str], target: str) -> Exported:
        """Read the manifest of a folder, and check that each graph is the one that it names.

        Raises:
            ValueError: no manifest or a damaged one, another target's, or a graph of another
                network.
        """
        named = isinstance(folder, str | os.PathLike)
        there = named and folder != "" and (Path(folder) / MANIFEST).is_file()
        allowed = f"a folder that `lambo export` wrote; its {MANIFEST} is missing"
        validate.check("weights of an exported network", folder, there, allowed)
        folder = Path(folder)
        found = jsons.read(folder / MANIFEST, _SHAPE)
        name = f"{str(folder / MANIFEST)!r}"
        validate.check(f"{name}: format", found["format"], found["format"] == FORMAT, FORMAT)
        exported = cls(**{field.name: found[field.name] for field in dataclasses.fields(cls)})
        validate.check(f"{name}: target", exported.target, exported.target == target, target)
        names = sorted(exported.graphs)
        allowed = f"{', '.join(GRAPHS)}; an export that did not end is to be run again"
        validate.check(f"{name}: graphs", names, names == sorted(GRAPHS), allowed)
        for graph, digest in exported.graphs.items():
            path = graph_path(folder, graph, target)
            same = path.is_file() and sha256(path) == digest
            allowed = f"the graph of this network, as `lambo export {exported.weights}` wrote it"
            validate.check("graph", str(path), same, allowed)
        return exported

    def write(self, folder: Path) -> None:
        """Write the manifest; one that names all graphs makes the folder whole."""
        text = json.dumps({"format": FORMAT, **dataclasses.asdict(self)}, indent=2) + "\n"
        files.write_text(folder / MANIFEST, text, _MARK)


def graph_path(folder: Path, graph: str, target: str) -> Path:
    """Return the file of a graph."""
    return folder / f"{graph}.{target}"


def sha256(path: Path) -> str:
    """Return the hash of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_folder(folder: str | os.PathLike[str]) -> Path:
    """Return a folder that may be written: a new or empty one, or one of an earlier export.

    Raises:
        ValueError: a file, or a folder with other things.
    """
    path = Path(folder)
    validate.check("export(folder)", str(path), path.is_dir() or not path.exists(), "a folder")
    ours = not path.exists() or not any(path.iterdir()) or (path / MANIFEST).exists()
    allowed = "a new folder, an empty one, or one of an earlier export"
    validate.check("export(folder)", str(path), ours, allowed)
    files.check_target(path / MANIFEST, _MARK)
    return path
