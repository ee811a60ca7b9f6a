"""The limit of descriptors, in a process of its own: this one's tests may need what it has."""

import subprocess
import sys

SCRIPT = """
import resource
from apo_core.system.descriptors import raise_descriptor_limit
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 512))
assert raise_descriptor_limit() == 512
assert raise_descriptor_limit() == 512  # once more does no harm
print(resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def test_all_that_the_account_may_have_is_taken():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout == "(512, 512)\n"
