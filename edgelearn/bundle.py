"""The deployable file, `.elb`: int8 graph, head, labels, provenance and hashes in one zip.

    manifest.json   what it is, what it was made from and with, and the hashes of the other members
    graph.json      ops and tensors (`ir.Graph`), constants without their bytes
    constants.bin   the bytes of all constants, one after another in the order of graph.json
    model.tflite    the int8 model, for comparison with the LiteRT reference kernels
    learned.json    only where the head was pulled from a device: its exact state (`recipe.LearnedHead`)

The same input gives the same bytes: members are stored uncompressed, in this order, with a fixed date.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import tempfile
import zipfile
from pathlib import Path

import msgspec

from edgelearn.errors import BundleError, StorageError, reason
from edgelearn.ir import Graph, verify
from edgelearn.recipe import LearnedHead

FORMAT_VERSION = 1
#: Endings of the files that a bundle is made of, in lower case.
KERAS_SUFFIXES, TFLITE_SUFFIX = (".keras", ".h5", ".hdf5"), ".tflite"
_MEMBERS = ("manifest.json", "graph.json", "constants.bin", "model.tflite")
_LEARNED = "learned.json"


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class SourceFile(_Part, frozen=True, kw_only=True):
    """A file the bundle was made from. For a folder, the hash is over its files' names and contents in order."""

    name: str
    sha256: str
    size_bytes: int


class Calibration(_Part, frozen=True, kw_only=True):
    """Statistics of the calibration samples, in the model's input units."""

    samples: int
    minimum: float
    maximum: float
    mean: float
    standard_deviation: float


class Agreement(_Part, frozen=True, kw_only=True):
    """How the int8 model compares with the float model on the calibration samples.

    Attributes:
        same_prediction: share of samples with the same largest output; None where the outputs are no classes.
        mean_absolute_difference: of the outputs, in the float model's output units.
        output_range: largest less smallest output of the float model on these samples, the scale of the difference;
            0 in bundles of earlier versions.
        float_accuracy: accuracy of the float model, where labels were given.
        int8_accuracy: accuracy of the int8 model, where labels were given.
    """

    samples: int
    same_prediction: float | None
    mean_absolute_difference: float
    output_range: float = 0.0
    float_accuracy: float | None = None
    int8_accuracy: float | None = None


class LearnedOn(_Part, frozen=True, kw_only=True):
    """The device that a head was pulled from.

    Attributes:
        board: its name.
        port: where it was.
        boot: its count of its starts.
        step: training steps of the head.
        run: the run that taught it last, "" where that is not known.
    """

    board: str
    port: str
    boot: int
    step: int
    run: str = ""


class Provenance(_Part, frozen=True, kw_only=True):
    """Where the bundle comes from.

    Attributes:
        sources: the model and calibration files.
        tools: name -> version of every tool that had a part in it.
        parents: SHA-256 of the bundles this one was made from.
        notices: what the conversion decided by itself, as told to the person.
        learned_on: the device that the head comes from, None for the model's own.
        float_model_bytes: size of the float parameters before quantisation, 0 where there was no float model.
    """

    sources: tuple[SourceFile, ...]
    tools: dict[str, str]
    parents: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    float_model_bytes: int = 0
    calibration: Calibration | None = None
    agreement: Agreement | None = None
    learned_on: LearnedOn | None = None


class Bundle(_Part, frozen=True, kw_only=True):
    """What a bundle file holds.

    Attributes:
        labels: one name for each output, spare classes included, or empty.
        spare_classes: outputs at the end that are no class yet.
        learned: the head as a device left it; None for the model's own, which is in the graph alone.
    """

    name: str
    graph: Graph
    labels: tuple[str, ...]
    model_tflite: bytes
    provenance: Provenance
    spare_classes: int = 0
    learned: LearnedHead | None = None

    @property
    def model_hash(self) -> str:
        """SHA-256, in hex, of the graph and its frozen constants.

        The values of trainable constants do not count: what a device learned does not make it another model.
        """
        digest = hashlib.sha256(_graph_json(self.graph))
        for tensor in self.graph.tensors:
            if tensor.data is not None and tensor.training is None:
                digest.update(tensor.data)
        return digest.hexdigest()


class _Manifest(_Part, frozen=True, kw_only=True):
    format_version: int
    name: str
    labels: tuple[str, ...]
    spare_classes: int = 0
    provenance: Provenance
    member_sha256: dict[str, str]


def _graph_json(graph: Graph) -> bytes:
    bare = tuple(
        tensor if tensor.data is None else msgspec.structs.replace(tensor, data=b"") for tensor in graph.tensors
    )
    return msgspec.json.format(msgspec.json.encode(msgspec.structs.replace(graph, tensors=bare)), indent=1)


def bundle_bytes(bundle: Bundle) -> bytes:
    """The bytes of the bundle file; the same for the same bundle."""
    members = {
        "graph.json": _graph_json(bundle.graph),
        "constants.bin": b"".join(tensor.data for tensor in bundle.graph.tensors if tensor.data is not None),
        "model.tflite": bundle.model_tflite,
    }
    if bundle.learned is not None:
        members[_LEARNED] = msgspec.json.format(msgspec.json.encode(bundle.learned), indent=1)
    manifest = _Manifest(
        format_version=FORMAT_VERSION,
        name=bundle.name,
        labels=bundle.labels,
        spare_classes=bundle.spare_classes,
        provenance=bundle.provenance,
        member_sha256={name: hashlib.sha256(data).hexdigest() for name, data in members.items()},
    )
    members["manifest.json"] = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
    with tempfile.SpooledTemporaryFile(max_size=1 << 26) as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name in (*_MEMBERS, *((_LEARNED,) if _LEARNED in members else ())):
                entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
                entry.external_attr = 0o644 << 16
                entry.create_system = 3
                archive.writestr(entry, members[name])
        file.seek(0)
        return file.read()


def check_folder(path: Path) -> None:
    """Refuse a name that a person gave in a folder which does not exist: it is misspelt rather than wanted.

    Raises:
        StorageError: there is no such folder.
    """
    if not path.absolute().parent.is_dir():
        raise StorageError(
            f"{path} could not be written",
            cause=f"there is no folder {path.parent}",
            hint="make the folder first, or name another",
        )


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all; what stood there before survives a failure.

    Raises:
        StorageError: it could not be written.
    """
    if path.is_dir():
        raise StorageError(f"{path} is a folder", hint="name a file in it")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise StorageError(
            f"{path} could not be written",
            cause=reason(error),
            hint="check the free space and the folder's permissions",
        ) from error


def write_bundle(bundle: Bundle, path: Path) -> str:
    """Write the bundle file whole or not at all; returns its SHA-256 in hex.

    Raises:
        StorageError: it could not be written.
    """
    data = bundle_bytes(bundle)
    write_atomically(path, data)
    return hashlib.sha256(data).hexdigest()


def _no_bundle(path: Path, cause: str) -> BundleError:
    """Why a file is no bundle, and how to make one of it where it is a model."""
    return BundleError(
        f"{path} is not an edgelearn bundle (.elb)",
        cause=cause,
        hint=f"`edgelearn convert {shlex.quote(str(path))} -o {shlex.quote(path.stem)}.elb` makes one of a model"
        if path.suffix.lower() in (*KERAS_SUFFIXES, TFLITE_SUFFIX) or path.is_dir()
        else "`edgelearn convert MODEL -o OUT.elb` makes one",
    )


def read_bundle(path: Path) -> Bundle:
    """Read and check a bundle file.

    Raises:
        BundleError: not a bundle, damaged, or of another format version.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            there = archive.namelist()
            if missing := [name for name in _MEMBERS if name not in there]:
                raise _no_bundle(path, f"it is an archive without {', '.join(missing)}")
            optional = (_LEARNED,) if _LEARNED in there else ()
            members = {name: archive.read(name) for name in (*_MEMBERS, *optional)}
    except FileNotFoundError as error:
        raise BundleError(
            f"{path} does not exist", hint="`edgelearn convert MODEL -o OUT.elb` makes a bundle"
        ) from error
    except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError) as error:
        if path.is_dir():
            cause = "it is a folder"
        elif not isinstance(error, zipfile.BadZipFile):
            cause = reason(error)
        elif zipfile.is_zipfile(path):
            cause = f"it is damaged: {error}"
        else:
            cause = "its content is not that of an .elb file, or a part of it is lost"
        raise _no_bundle(path, cause) from error
    try:
        version = msgspec.json.decode(members["manifest.json"])["format_version"]
        if version != FORMAT_VERSION:
            raise BundleError(
                f"{path} has the bundle format {version}, this edgelearn reads {FORMAT_VERSION}",
                hint="convert the model again with this edgelearn",
            )
        manifest = msgspec.json.decode(members["manifest.json"], type=_Manifest)
        for name, expected in manifest.member_sha256.items():
            if name not in members or hashlib.sha256(members[name]).hexdigest() != expected:
                raise BundleError(f"{path} is damaged", cause=f"the hash of {name} is not the one in the manifest")
        learned = msgspec.json.decode(members[_LEARNED], type=LearnedHead) if _LEARNED in members else None
        graph = _with_constants(msgspec.json.decode(members["graph.json"], type=Graph), members["constants.bin"])
    except (msgspec.MsgspecError, KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{path} is damaged", cause=str(error)) from error
    return Bundle(
        name=manifest.name,
        graph=verify(graph, after=f"reading {path.name}"),
        labels=manifest.labels,
        model_tflite=members["model.tflite"],
        provenance=manifest.provenance,
        spare_classes=manifest.spare_classes,
        learned=learned,
    )


def file_sha256(path: Path) -> str:
    """SHA-256, in hex, of a file; of a folder, over the relative names and contents of its files in order."""
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    digest = hashlib.sha256()
    for file in sorted((p for p in path.rglob("*") if p.is_file()), key=lambda p: p.relative_to(path).as_posix()):
        digest.update(file.relative_to(path).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _with_constants(graph: Graph, constants: bytes) -> Graph:
    tensors = []
    offset = 0
    for tensor in graph.tensors:
        if tensor.data is None:
            tensors.append(tensor)
            continue
        data = constants[offset : offset + tensor.size_bytes]
        offset += tensor.size_bytes
        tensors.append(msgspec.structs.replace(tensor, data=data))
    if offset != len(constants):
        raise ValueError(f"constants.bin has {len(constants)} bytes, the graph needs {offset}")
    return msgspec.structs.replace(graph, tensors=tuple(tensors))
