import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow"))
sys.path.insert(0, str(Path(__file__).parent))

from run_on_cluster import cluster, site_profile  # noqa: F401
from run_workflow import clone, finished  # noqa: F401
