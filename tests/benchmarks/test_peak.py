"""What a benchmark tells of memory."""
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
TOLD = [sys.executable, "-c", "from benchmarks.peak import peak; print(peak())"]


def test_a_process_does_not_begin_with_what_its_parent_held():
    held = np.ones(300 * 2**20, dtype=np.uint8)
    assert float(subprocess.run(TOLD, cwd=ROOT, capture_output=True, check=True, text=True).stdout) < 100
    assert held[-1] == 1


def test_it_is_the_most_that_was_held():
    command = [*TOLD[:2], f"import numpy as np; np.ones(200 * 2**20, dtype=np.uint8); {TOLD[2]}"]
    assert 200 < float(subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout) < 400
