"""The compiled schemas against their sources."""

from __future__ import annotations

import pytest
from google.protobuf import descriptor_pb2

from prototxt_import.schema import compile as schema_compile


@pytest.mark.parametrize("dialect", schema_compile.DIALECTS)
def test_compiled_schema_is_that_of_the_sources(dialect, tmp_path):
    protoc = schema_compile.compiler()
    if protoc is None:
        pytest.skip("needs protoc: install protobuf-compiler, or `pip install grpcio-tools`")
    schema_compile.compile_dialect(protoc, dialect, tmp_path / "new.desc")
    files = [schema_compile.HERE / f"{dialect}.desc", tmp_path / "new.desc"]
    old, new = (descriptor_pb2.FileDescriptorSet.FromString(file.read_bytes()) for file in files)
    assert new == old
