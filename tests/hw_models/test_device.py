"""Device files: what is read, and what a wrong one is told."""

from __future__ import annotations

import subprocess
import sys

import pytest

from netloom.errors import SpecError, UnknownName
from netloom.hw_models import (
    device,
    device_names,
    load_device,
    model_for,
    register_device,
)

GOOD = """\
name: mine
family: cpu
title: A core
calibrated: false
numbers:
  clock: {value: 2.5, unit: GHz, source: data sheet of the core}
  flops_per_cycle: {value: 16, unit: FLOP/cycle, source: data sheet of the core}
  memory_bandwidth: {value: 10, unit: GB/s, source: data sheet of the core}
  layer_overhead: {value: 3, unit: us, source: data sheet of the core}
  memory:
    value: 512
    unit: MiB
    source: data sheet of the core
"""


@pytest.fixture
def write(tmp_path):
    def write(text=GOOD):
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return path

    return write


def test_a_file_by_path(write):
    loaded = load_device(write())
    assert (loaded.name, loaded.family, loaded.calibrated) == ("mine", "cpu", False)
    assert loaded.numbers.clock.si == 2.5e9
    assert loaded.numbers.memory.si == 512 * 1024**2
    assert loaded.to_dict()["numbers"]["layer_overhead"] == {
        "value": 3,
        "unit": "us",
        "source": "data sheet of the core",
    }
    assert load_device(str(write())) == loaded
    assert load_device(loaded) is loaded


@pytest.mark.parametrize("name", device_names())
def test_every_shipped_device_loads_under_its_own_name(name):
    loaded = load_device(name)
    assert loaded.name == name
    assert model_for(loaded).device is loaded


def test_the_generic_cpu_says_that_it_is_not_calibrated():
    loaded = load_device("cpu_generic")
    assert not loaded.calibrated
    assert "never compared" in loaded.notes
    for number in loaded.to_dict()["numbers"].values():
        assert len(number["source"]) > 20


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("clock:", "clok:", r"mine\.yaml:6: numbers\.clok: unknown key; did you mean clock\?"),
        ("title:", "titel:", r"mine\.yaml:3: titel: unknown key; did you mean title\?"),
        ("    unit: MiB\n", "", r"mine\.yaml:10: numbers\.memory\.unit: is required and missing"),
        ("unit: MiB", "unit: GHz", r"mine\.yaml:10: numbers\.memory: unit must be bytes or KiB"),
        ("unit: MiB", "unit: MB", r"numbers\.memory: unit must be .*, got 'MB'"),
        ("value: 512", "value: -1", r"mine\.yaml:11: .*value: must be greater than or equal to 0"),
        ("value: 512", "value: 0", r"numbers\.memory: value must be greater than 0, got 0"),
        ("value: 512", "value: lots", r"mine\.yaml:11: .*value: must be a valid number"),
        ("value: 512", "value: .nan", r"mine\.yaml:11: .*value: must be a finite number"),
        ("    source: data sheet of the core", "    source: ''", r"source: must have at least 10"),
        ("family: cpu", "family: cpuu", r"mine\.yaml:2: family: .*did you mean cpu\?"),
        (
            "calibrated: false",
            "calibrated: 0",
            r"mine\.yaml:4: calibrated: must be true or false, got 0",
        ),
        ("name: mine", "name: 'my core'", r"mine\.yaml:1: name: must match pattern"),
        (
            "title: A core",
            "title: A core\nvalidation: {latncy_ms: {n: 9, mape_percent: 4, source: 9 networks}}",
            r"mine\.yaml:4: validation\.latncy_ms: unknown key; did you mean latency_ms\?",
        ),
        (
            "title: A core",
            "title: A core\nvalidation: {energy_mj: {n: 9, mape_percent: 4, source: 9 networks}}",
            r"validation\.energy_mj: unknown key; known: latency_ms, peak_memory_bytes",
        ),
        ("name: mine", "family: cpu", r"mine\.yaml:2: family: stands twice"),
        ("title: A core", "title: [", r"mine\.yaml:\d: the file must be YAML"),
        (GOOD, "- cpu", r"must be a mapping"),
        (GOOD, "", r"must be a mapping"),
    ],
)
def test_a_wrong_file_is_told_where_and_what(write, old, new, said):
    assert old in GOOD
    with pytest.raises(SpecError, match=said):
        load_device(write(GOOD.replace(old, new, 1)))


def test_all_problems_of_a_file_come_at_once(write):
    with pytest.raises(SpecError) as caught:
        load_device(write(GOOD.replace("title:", "titel:").replace("false", "maybe")))
    assert len(str(caught.value).splitlines()) == 3  # titel, title missing, calibrated


def test_a_missing_file(tmp_path):
    with pytest.raises(SpecError, match="cannot be read: No such file"):
        load_device(tmp_path / "none.yaml")


def test_an_unknown_name_lists_the_closest():
    with pytest.raises(UnknownName, match=r"unknown device 'cpu_generc'; did you mean cpu_generic"):
        load_device("cpu_generc")


def test_registered_devices(write, monkeypatch):
    monkeypatch.setattr(device, "_PLUGINS", device.Registry("device", "netloom.devices", {}))
    register_device("mine", write())
    assert "mine" in device_names()
    assert load_device("mine").name == "mine"
    assert model_for("mine").peak_flops == 40e9
    with pytest.raises(SpecError, match="taken"):
        register_device("mine", write())
    with pytest.raises(SpecError, match="taken"):
        register_device("cpu_generic", write())


def test_devices_of_installed_packages(write, tmp_path, monkeypatch):
    path = write()
    (tmp_path / "lab_devices.py").write_text(f"def core(): return {str(path)!r}\n")
    info = tmp_path / "lab_devices-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lab-devices\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[netloom.devices]\nlab_core = lab_devices:core\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(device, "_PLUGINS", device.Registry("device", "netloom.devices", {}))
    assert "lab_core" in device_names()
    assert load_device("lab_core").name == "mine"


def test_a_new_family_needs_a_class_and_no_change_here(write, monkeypatch):
    families = device.Registry("device family", "netloom.device_families", {})
    families.register("cpu", device.FAMILIES.get("cpu"))
    families.register("twin", device.FAMILIES.get("cpu"))
    monkeypatch.setattr(device, "FAMILIES", families)
    assert load_device(write(GOOD.replace("family: cpu", "family: twin"))).family == "twin"


def test_devices_need_no_torch():
    code = (
        "import sys; from netloom.hw_models import device_names, model_for, Workload; "
        "[model_for(n) for n in device_names()]; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
