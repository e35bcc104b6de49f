"""A Ray cluster of two nodes on this machine, which is always stopped at the end."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress

STORE_BYTES = 100 * 2**20
# A node that is gone is noticed after about a second; by default it would take half a minute.
NOTICED_SOON = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 300, "health_check_failure_threshold": 3}


# A driver whose Ray takes the loopback address, as the nodes do.
DRIVER = """
import sys
from ray._private import ray_constants
ray_constants.ENABLE_RAY_CLUSTER = False
from chalknet.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


class TwoNodes:
    """A head node with one core, of which this process is, and a second one with one core that can be killed.

    Everything is done while `ray_cluster._local_only`.
    """

    def __init__(self, folder):
        from ray.cluster_utils import Cluster

        self._options = {"num_cpus": 1, "object_store_memory": STORE_BYTES, "include_dashboard": False}
        head = {**self._options, "temp_dir": folder, "_system_config": NOTICED_SOON}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self.on = f"ray://{self._cluster.address}"
        self.second = None

    def add_second(self):
        self.second = self._cluster.add_node(**self._options)

    def workers(self, node, name):
        """Process numbers of the actors of that name on a node."""
        (raylet,) = node.all_processes["raylet"]
        line = ["ps", "--ppid", str(raylet.process.pid), "-o", "pid=,args="]
        found = subprocess.run(line, capture_output=True, text=True, check=False).stdout.splitlines()
        return [int(one.split()[0]) for one in found if f"ray::{name}" in one]

    @property
    def head(self):
        return self._cluster.head_node

    def kill_second(self):
        """kill -9 of every process of the node, its workers first of all."""
        (raylet,) = self.second.all_processes["raylet"]
        children = subprocess.run(
            ["ps", "--ppid", str(raylet.process.pid), "-o", "pid="], capture_output=True, text=True, check=False
        ).stdout.split()
        own = [info.process.pid for infos in self.second.all_processes.values() for info in infos]
        for pid in [raylet.process.pid, *map(int, children), *own]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def forget_second(self):
        if self.second is not None:
            self._cluster.remove_node(self.second, allow_graceful=False)
            self.second = None

    def stop(self):
        self._cluster.shutdown()
