"""What a process has running when it ends: nothing of Arrow's, whose threads abort an interpreter that is ending."""

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT
from tests.store.samples import write_task_folder

CODE = """
import os, sys
from pathlib import Path
from apd.data import LocalFolder, read_info
from apd.data.rows import read_rows
from apd.state import Sparse
from apd.store import formats

folder = LocalFolder(Path(sys.argv[1]))
before = len(os.listdir("/proc/self/task"))
formats.decode_table(formats.encode_table([{}], {}), "here")
formats.decode_sparse(formats.encode_sparse({"w": Sparse.zeros((3,))}, {}), "here")
list(read_rows(folder, read_info(folder), "train"))
print(len(os.listdir("/proc/self/task")) - before)
"""


def test_writing_and_reading_parquet_starts_no_thread(tmp_path: Path) -> None:
    folder = write_task_folder(tmp_path / "task", "task")
    ended = subprocess.run(
        [sys.executable, "-c", CODE, folder],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (ended.returncode, ended.stdout) == (0, "0\n"), ended.stderr
