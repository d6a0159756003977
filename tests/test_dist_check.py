"""tools/dist_check.py: it finds what differs, and says what to do."""

from __future__ import annotations

import importlib.util
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = pytest.mark.source

ROOT = Path(__file__).parent.parent
WHEEL = "hotrod_codec-1.0-cp314-cp314t-manylinux2014_x86_64.manylinux_2_17_x86_64.whl"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("dist_check", ROOT / "tools/dist_check.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


dist_check = load()


def make_wheel(folder: Path, *, without: str = "", more: str = "", tag: str = "314t") -> Path:
    """A wheel with empty files, named as the list has them."""
    path = folder / WHEEL
    with zipfile.ZipFile(path, "w") as wheel:
        for name in dist_check.written_files():
            if name != without:
                name = name.replace("*.dist-info", "hotrod_codec-1.0.dist-info")
                # Not .so: those are read for their symbols.
                wheel.writestr(name.replace(".compiled", f".cp{tag}-win_amd64.pyd"), b"")
        if more:
            wheel.writestr(more, b"")
    return path


def test_the_table_has_each_platform_and_python_once() -> None:
    wheels = dist_check.expected_wheels()
    assert len(wheels) == 56
    assert ("cp314t", "win_arm64") in wheels
    assert ("cp311", "macosx_11_0_x86_64") in wheels


def test_a_build_identifier_knows_no_system_version() -> None:
    assert dist_check.identifier("cp311", "manylinux_2_17_aarch64") == "cp311-manylinux_aarch64"
    assert dist_check.identifier("cp315t", "macosx_11_0_arm64") == "cp315t-macosx_arm64"
    assert dist_check.identifier("cp315", "win_amd64") == "cp315-win_amd64"


def test_a_wheel_that_is_as_written_down_passes(tmp_path: Path) -> None:
    dist_check.check_wheel(make_wheel(tmp_path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"without": "hotrod_codec/errors.py"}, "missing:      hotrod_codec/errors.py"),
        ({"more": "hotrod_codec/x.c"}, "not expected: hotrod_codec/x.c"),
        ({"more": "hotrod_codec.libs/libz.so.1"}, "not expected: hotrod_codec.libs/libz.so.1"),
    ],
)
def test_a_wheel_with_other_files_fails_with_advice(
    tmp_path: Path, change: dict[str, str], message: str
) -> None:
    with pytest.raises(dist_check.Difference, match="make wheel-list") as caught:
        dist_check.check_wheel(make_wheel(tmp_path, **change))
    assert message in str(caught.value)


def test_a_compiled_module_for_another_python_fails(tmp_path: Path) -> None:
    with pytest.raises(dist_check.Difference, match="not for cp314t"):
        dist_check.check_wheel(make_wheel(tmp_path, tag="314"))


def test_a_wheel_for_a_newer_system_fails(tmp_path: Path) -> None:
    newer = make_wheel(tmp_path).rename(
        tmp_path / "hotrod_codec-1.0-cp311-cp311-manylinux_2_28_x86_64.whl"
    )
    with pytest.raises(dist_check.Difference, match="auditwheel show"):
        dist_check.check_wheel(newer)


def make_release(folder: Path) -> None:
    version = dist_check.project()["project"]["version"]
    for python, platform in dist_check.expected_wheels():
        name = f"hotrod_codec-{version}-{python.removesuffix('t')}-{python}-{platform}.whl"
        (folder / name).touch()
    (folder / f"hotrod_codec-{version}.tar.gz").touch()


def test_a_whole_release_passes(tmp_path: Path) -> None:
    make_release(tmp_path)
    dist_check.release(tmp_path)


@pytest.mark.parametrize("pattern", ["*-cp313-*win_arm64.whl", "*.tar.gz"])
def test_a_release_that_lacks_a_file_fails(tmp_path: Path, pattern: str) -> None:
    make_release(tmp_path)
    (lost,) = tmp_path.glob(pattern)
    lost.unlink()
    with pytest.raises(dist_check.Difference, match="missing: "):
        dist_check.release(tmp_path)


def test_a_release_with_a_file_of_another_version_fails(tmp_path: Path) -> None:
    make_release(tmp_path)
    (tmp_path / WHEEL.replace("-1.0-", "-0.0.9-")).touch()
    with pytest.raises(
        dist_check.Difference, match=r"not expected: hotrod_codec-0\.0\.9 cp314t many"
    ):
        dist_check.release(tmp_path)


def test_the_list_is_that_of_the_sources() -> None:
    names = dist_check.files_from_sources()
    assert "hotrod_codec/_ext/codec.compiled" in names
    assert "hotrod_codec/server/tcp.py" in names
    assert not [name for name in names if name.endswith((".pyx", ".pxd", ".c"))]
