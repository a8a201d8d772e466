"""Convert the gathered measurements (gzip'ed CSV) into the tables that the package carries.

    python benchmarks/make_tables.py FOLDER        # writes estimators/tables/*.parquet

Decimals are kept exactly: a value with at most five of them is stored as an integer times a power
of ten (the power is in the column's metadata), which is also half the size of floats.
"""

from __future__ import annotations

import csv
import gzip
import sys
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

TARGET = Path(__file__).parents[1] / "estimators" / "tables"
TEXT = {"arch", "kernel_sizes", "expand_ratios", "depths"}
SOURCES = {
    "nb201": "nb201.csv.gz",
    "nats_sss": "nats_sss_cifar10.csv.gz",
    "nas_bench_macro": "nas_bench_macro.csv.gz",
    "fbnet_latency": "fbnet_latency.csv.gz",
    "ofa_latency": "ofa_latency.csv.gz",
}


def numbers(values: list[str]) -> tuple[pa.Array, int]:
    """Return the values times 10^d as integers, and d, the most decimals that one of them has."""
    exact = [Decimal(value) for value in values]
    places = max(max(0, -int(value.as_tuple().exponent)) for value in exact)
    scaled = [int(value.scaleb(places)) for value in exact]
    return pa.array(scaled, pa.int32() if max(scaled) < 2**31 else pa.int64()), places


def convert(name: str, source: Path) -> Path:
    """Write one table; the order of the rows is the source's."""
    with gzip.open(source, "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    arrays: list[pa.Array] = []
    fields: list[pa.Field] = []
    for column in rows[0]:
        values = [row[column] for row in rows]
        if column in TEXT:
            array, meta = pa.array(values, pa.string()), {}
        else:
            array, places = numbers(values)
            meta = {"decimals": str(places)}
        arrays.append(array)
        fields.append(pa.field(column, array.type, nullable=False, metadata=meta))
    table = pa.Table.from_arrays(arrays, schema=pa.schema(fields))
    path = TARGET / f"{name}.parquet"
    pq.write_table(
        table,
        path,
        compression="zstd",
        compression_level=19,
        use_dictionary=False,
        use_byte_stream_split=[f.name for f in fields if f.name not in TEXT],
        row_group_size=1 << 20,
    )
    return path


def main() -> None:
    """Convert every table of the folder named on the command line."""
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    for name, file in SOURCES.items():
        path = convert(name, Path(sys.argv[1]) / file)
        print(f"{path.name}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
