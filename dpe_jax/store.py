"""The store of curves: arrays on disk, each chunk of which belongs to one block."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dpe_jax.blocks import Block
from dpe_jax.layout import dimensions
from dpe_jax.observe import LABELS
from dpe_jax.recording import Recording
from dpe_jax.study import Study
from dpe_jax.sweeps import as_written

_CHUNK_VALUES = 2**20
"""Values in one stored chunk, before compression."""

_DTYPES = {"status": "i1", "failed_at": "i8", "final_state": "f8"}
"""Of what is no metric."""

_FILL = {"status": -1, "failed_at": -2}


class CurveStore:
    """curves.zarr, filled block by block; memory stays that of one block.

    A chunk belongs to one block, so blocks may be written by several processes.
    """

    def __init__(
        self,
        path: Path,
        study: Study,
        labels: Mapping[str, np.ndarray] | None = None,
        attributes: Mapping[str, str] | None = None,
        *,
        create: bool = True,
    ) -> None:
        """A study of several configurations has `labels` of them, one a configuration each.

        Unless it is to be created, the store is there, of the same study.
        """
        import zarr

        self.path, self._study, self._swept = path, study, labels is not None
        if create:
            _create(path, study, labels, attributes or {})
        # By default a chunk of fill values is left out, and is then like a lost one.
        with zarr.config.set({"array.write_empty_chunks": True}):
            found = dict(zarr.open_group(path, mode="r+", zarr_format=2).arrays())
        names = (*study.metrics, *_DTYPES)
        self._arrays = {name: found[name] for name in names if name in found}

    def write(self, block: Block, recording: Recording) -> None:
        """Store one block of one method."""
        lanes = slice(block.first, block.first + block.runs)
        values: dict[str, np.ndarray] = {
            **recording.curves,
            "status": recording.status,
            "failed_at": recording.failed_at,
            "final_state": recording.final,
        }
        for column, rows in self._rows(block):
            own = slice(column * block.runs, (column + 1) * block.runs)
            for row in rows:
                for name, array in self._arrays.items():
                    array[(*row, ..., lanes)] = values[name][..., own]

    def _rows(self, block: Block) -> list[tuple[int, list[tuple[int, ...]]]]:
        """Each configuration of a block, and where its values are: its twins have them as well."""
        row = self._study.methods.index(block.method)
        if not self._swept:
            return [(0, [(row,)])]
        twins = np.array(self._study.twins[block.method])
        return [
            (column, [(row, twin) for twin in np.flatnonzero(twins == configuration).tolist()])
            for column, configuration in enumerate(block.configurations)
        ]

    def chunks(self, block: Block) -> list[str]:
        """The files that hold a block, as paths within the store."""
        return [
            f"{name}/{'.'.join(map(str, (*row, *middle, block.first // array.chunks[-1])))}"
            for name, array in self._arrays.items()
            for _, rows in self._rows(block)
            for row in rows
            for middle in np.ndindex(
                *(
                    -(-size // chunk)
                    for size, chunk in zip(
                        array.shape[len(row) : -1], array.chunks[len(row) : -1], strict=True
                    )
                )
            )
        ]

    def adopt(self, other: Path, block: Block) -> None:
        """Take a block from another store of the same settings: its files as they are, if it can.

        Files are linked and not copied where the file system allows: neither store may change them
        in place, and this one never does.
        """
        import zarr

        group = zarr.open_group(other, mode="r", zarr_format=2)
        lanes = slice(block.first, block.first + block.runs)
        for name, array in self._arrays.items():
            old = group[name]
            assert isinstance(old, zarr.Array)  # its curves were opened before
            if _alike(old, array) and block.runs == array.chunks[-1]:
                for key in self.chunks(block):
                    if key.startswith(f"{name}/"):
                        _link(other / key, self.path / key)
                continue
            for _, rows in self._rows(block):
                for row in rows:
                    array[(*row, ..., lanes)] = old[(*row, ..., lanes)]


def _create(
    path: Path,
    study: Study,
    labels: Mapping[str, np.ndarray] | None,
    attributes: Mapping[str, str],
) -> None:
    """A store without a single chunk of a block."""
    import xarray as xr
    import zarr

    simulation, swept = study.common, labels is not None
    coordinates: dict[str, Any] = dict(simulation.labels)
    if labels is not None:
        coordinates = {key: coordinates[key] for key in ("algorithm", "iteration", "run")}
        coordinates["configuration"] = np.arange(len(study.simulations))
        coordinates |= {key: ("configuration", value) for key, value in labels.items()}
    described = {"iterations": simulation.iterations, **attributes}
    frame = xr.Dataset(coords=coordinates, attrs=described)
    # Zarr format 2: the specification of strings in format 3 is not settled yet.
    as_written(frame).to_zarr(path, mode="w", consolidated=False, zarr_format=2)
    group = zarr.open_group(path, mode="a", zarr_format=2)
    for name in (*study.metrics, *_DTYPES):
        dims = dimensions(name, swept=swept)
        if swept and name == "final_state":
            continue
        shape = tuple(frame.sizes[dim] for dim in dims)
        array = group.create_array(
            name,
            shape=shape,
            chunks=_chunks(shape, study.block_runs, leading=1 + swept),
            dtype=_DTYPES.get(name, "f4"),
            fill_value=_FILL.get(name, np.nan),
        )
        array.attrs["_ARRAY_DIMENSIONS"] = list(dims)
        if name in LABELS:
            array.attrs["long_name"] = LABELS[name]


def _alike(one: Any, other: Any) -> bool:
    """Whether chunks of two arrays are the same files."""
    names = ("chunks", "dtype", "fill_value", "compressors", "filters", "order")
    return all(repr(getattr(one, name)) == repr(getattr(other, name)) for name in names)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _chunks(shape: tuple[int, ...], lanes: int, leading: int) -> tuple[int, ...]:
    """One method and configuration, one block of lanes, and rows enough for a middling chunk."""
    width = max(1, min(lanes, shape[-1]))
    ones = (1,) * leading
    if len(shape) == leading + 1:
        return (*ones, width)
    rest = shape[leading + 1 : -1]
    at_a_time = _CHUNK_VALUES // (width * int(np.prod(rest, dtype=np.int64)))
    return (*ones, max(1, min(shape[leading], at_a_time)), *rest, width)
