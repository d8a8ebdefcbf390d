import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from run_workflow import clone, copied, finished  # noqa: F401
