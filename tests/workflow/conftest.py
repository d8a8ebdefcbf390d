import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from disturbed import studies, undisturbed  # noqa: F401
from earlier import legacy  # noqa: F401
from run_workflow import clone, copied, finished  # noqa: F401
