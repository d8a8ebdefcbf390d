import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow"))
sys.path.insert(0, str(Path(__file__).parent))

from disturbed import studies, undisturbed  # noqa: F401
from run_on_cluster import cluster, site_profile, study  # noqa: F401
from run_workflow import clone, finished  # noqa: F401
