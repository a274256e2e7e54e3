"""tools/ is no part of the package: its tests put the source tree on the path themselves."""

import sys

from support.paths import ROOT

sys.path.insert(0, str(ROOT))
