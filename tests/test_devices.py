"""Blocks on one device and on four have the same bits; on eight, `test_engine.py`."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import on_devices
import pytest

HERE = Path(__file__).parent


def on(devices: int) -> dict[str, Any]:
    """What `on_devices.py` finds in a process with so many devices."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    done = subprocess.run(
        [sys.executable, str(HERE / "on_devices.py")],
        env=os.environ | {"XLA_FLAGS": flags},
        capture_output=True,
        text=True,
        check=True,
    )
    report = json.loads(done.stdout)
    assert report["devices"] == devices
    return report["digests"]


@pytest.mark.slow
def test_four_devices_have_the_bits_of_one() -> None:
    assert len(jax.local_devices()) == 1
    one = on_devices.digests()
    assert one == on(4)
    # Several blocks, two problems, curves and statistics: and they are not all alike.
    assert {name.split("/")[0] for name in one} == {"quadratic", "hospitals"}
    assert len({name.rsplit("/", 1)[0] for name in one}) >= 16
    assert len(set(one.values())) > len(one) / 2
