"""The program container: one binary file with check sums, the same bytes for the same content.

What a section means is up to its reader; this package knows the file, the manifest's JSON and
two encodings that sections share: named arrays, and levels packed to their bits.
"""

from __future__ import annotations

from lowbitc.targets.container.arrays import decode_arrays, encode_arrays
from lowbitc.targets.container.container import Container, Section
from lowbitc.targets.container.layout import MAJOR, MINOR, SectionType
from lowbitc.targets.container.levels import pack_levels, packed_bytes, unpack_levels
from lowbitc.targets.container.manifest import Json, ManifestError
from lowbitc.targets.container.read import read_container
from lowbitc.targets.container.write import container_bytes, container_digest, write_container

__all__ = [
    "MAJOR",
    "MINOR",
    "Container",
    "Json",
    "ManifestError",
    "Section",
    "SectionType",
    "container_bytes",
    "container_digest",
    "decode_arrays",
    "encode_arrays",
    "pack_levels",
    "packed_bytes",
    "read_container",
    "unpack_levels",
    "write_container",
]
