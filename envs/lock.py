"""Writes the lock (requirements.txt) and the conda environment that installs from it, from `pip freeze` on stdin."""

import re
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
HEADER = "# The exact tree of dependencies; `make lock` renews it together with consilience.yaml.\n"
CONDA = "channels:\n  - conda-forge\n  - nodefaults\ndependencies:\n  - python=3.11\n  - pip\n  - pip:\n"


def main() -> None:
    """Drop local version labels (+cpu), which no registry but the builder's knows, and write both files."""
    pins = sorted((re.sub(r"\+\w+$", "", line.strip()) for line in sys.stdin if line.strip()), key=str.lower)
    FOLDER.joinpath("requirements.txt").write_text(HEADER + "\n".join(pins) + "\n", encoding="utf-8")
    # The pins stand in the file itself: Snakemake copies it away, and a relative `-r` would then point nowhere.
    FOLDER.joinpath("consilience.yaml").write_text(
        HEADER.replace("requirements.txt", "") + CONDA + "".join(f"      - {pin}\n" for pin in pins), encoding="utf-8"
    )


if __name__ == "__main__":
    main()
