"""Values into canonical bytes and digests: what staleness compares."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.signal import Column


class ContractError(Exception):
    """A signal returned something other than it declared; the message names the column and the value."""


def digest(*parts: object) -> int:
    """64 bits of the md5 of the parts joined by '|': SQL's md5_number_lower(concat_ws('|', ...)).

    Digests are numbers of 64 bits so that those of several inputs are combined by exclusive or: a plan over millions
    of rows then hashes once per clip and not once per signal. Each input's digest carries its role, so that two
    inputs that hold the same values don't cancel out.
    """
    return _number(hashlib.md5("|".join(str(p) for p in parts).encode()).digest())


def digest_of_file(sha256: str | None) -> int:
    """64 bits of a file's sha256; 0 for a file that is not there."""
    return int(sha256[:16], 16) if sha256 else 0


def declared_row(columns: Sequence[Column], row: Mapping[str, Any]) -> dict[str, Any]:
    """The row rounded and checked against its declaration. Raises ContractError."""
    names = {c.name for c in columns}
    if set(row) != names:
        raise ContractError(f"returned columns {sorted(row)}, declared {sorted(names)}")
    made = {}
    for column in columns:
        try:
            made[column.name] = _declared_value(column, row[column.name])
        except (TypeError, ValueError) as error:
            if isinstance(error, ContractError):
                raise
            told = f"column {column.name} is {row[column.name]!r}, declared {column.dtype}"
            raise ContractError(told) from error
    return made


def declared_table(columns: Sequence[Column], table: pa.Table) -> pa.Table:
    """The timeline in its declared types, rounded, checked and sorted by frame. Raises ContractError."""
    schema = timeline_schema(columns)
    if set(table.column_names) != set(schema.names):
        raise ContractError(f"timeline has columns {sorted(table.column_names)}, declared {sorted(schema.names)}")
    try:
        table = table.select(schema.names).cast(schema)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ContractError(f"timeline does not fit its declared types: {error}") from error
    frames = table["frame"].to_numpy()
    if len(frames) and np.any(np.diff(frames) < 0):
        raise ContractError("timeline is not sorted by frame")
    made = [table["frame"].combine_chunks()]
    for column in columns:
        made.append(_declared_array(column, table[column.name].combine_chunks()))
    return pa.table(made, schema=schema)


def timeline_schema(columns: Sequence[Column]) -> pa.Schema:
    return pa.schema([("frame", pa.int32()), *[(c.name, c.dtype) for c in columns]])


def digest_of_table(table: pa.Table) -> int:
    """Digest of a table's values, whatever its chunks, offsets and padding."""
    state = hashlib.md5()
    for name in table.column_names:
        state.update(f"{name}:{table.num_rows}:".encode())
        _feed(state, table[name].combine_chunks())
    return _number(state.digest())


def digest_of_values(row: Mapping[str, Any], timeline: pa.Table | None, vectors: Mapping[str, np.ndarray]) -> int:
    """Digest of all that one computation of a signal gave."""
    state = hashlib.md5(json.dumps(row, sort_keys=True, default=str).encode())
    if timeline is not None:
        state.update(str(digest_of_table(timeline)).encode())
    for name in sorted(vectors):
        state.update(name.encode() + np.ascontiguousarray(vectors[name], np.float32).tobytes())
    return _number(state.digest())


def _number(md5: bytes) -> int:
    return int.from_bytes(md5[8:], "little")


def pack(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table.combine_chunks())
    return bytes(sink.getvalue())


def unpack(payload: bytes) -> pa.Table:
    with pa.ipc.open_stream(payload) as reader:
        return reader.read_all()


def between(table: pa.Table, start_frame: int, end_frame: int) -> pa.Table:
    """Rows with start_frame <= frame < end_frame of a table sorted by frame."""
    frames = table["frame"].to_numpy()
    low, high = np.searchsorted(frames, [start_frame, end_frame])
    return table.slice(low, high - low)


def joined(tables: Iterable[pa.Table], columns: Sequence[Column]) -> pa.Table:
    parts = list(tables)
    return pa.concat_tables(parts) if parts else timeline_schema(columns).empty_table()


def _declared_value(column: Column, value: Any) -> Any:
    if value is None:
        if column.meaning.startswith("nullable:"):
            return None
        raise ContractError(f"column {column.name} is None; an ok row holds every value, or raise NotApplicable")
    if pa.types.is_floating(column.dtype):
        number = float(value)
        _check_range(column, np.asarray([number]))
        if column.decimals is None:
            raise ContractError(f"float column {column.name} declares no decimals")
        # + 0.0 turns -0.0 into 0.0: the same value must have the same digest.
        rounded = round(number, column.decimals) + 0.0
        return float(np.float32(rounded)) if column.dtype == pa.float32() else rounded
    if pa.types.is_boolean(column.dtype):
        return bool(value)
    if pa.types.is_integer(column.dtype):
        _check_range(column, np.asarray([value], np.float64))
        return int(value)
    return str(value)


def _declared_array(column: Column, array: pa.Array) -> pa.Array:
    if not pa.types.is_primitive(column.dtype) or pa.types.is_boolean(column.dtype):
        return array
    valid = array.drop_null().to_numpy(zero_copy_only=False)
    _check_range(column, valid)
    if not pa.types.is_floating(column.dtype):
        return array
    if column.decimals is None:
        raise ContractError(f"float column {column.name} declares no decimals")
    mask = np.asarray(array.is_null())
    values = np.round(array.fill_null(0).to_numpy(zero_copy_only=False).astype(np.float64), column.decimals) + 0.0
    return pa.array(values, column.dtype, mask=mask)


def _check_range(column: Column, values: np.ndarray) -> None:
    if values.size == 0:
        return
    if not np.all(np.isfinite(values)):
        raise ContractError(
            f"column {column.name} holds {values[~np.isfinite(values)][0]}; only finite values are stored"
        )
    low, high = float(values.min()), float(values.max())
    if (column.low is not None and low < column.low) or (column.high is not None and high > column.high):
        met = low if column.low is not None and low < column.low else high
        raise ContractError(f"column {column.name} holds {met:g}, declared {column.low} to {column.high}")


def _feed(state: Any, array: pa.Array) -> None:
    state.update(np.asarray(array.is_null()).tobytes())
    if pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        state.update(np.asarray(array.value_lengths().fill_null(0)).tobytes())
        _feed(state, array.flatten())
    elif pa.types.is_primitive(array.type) and not pa.types.is_boolean(array.type):
        state.update(array.fill_null(0).to_numpy(zero_copy_only=False).tobytes())
    else:
        state.update(json.dumps(array.to_pylist(), sort_keys=True, default=str).encode())
