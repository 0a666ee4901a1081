"""The environment that this service wants of Ray's processes, on every node it runs on.

HAProxy, its manager, the controller and replicas are started by Ray, and inherit it from their
node. `export $(python -m deployments.common.runtime_env)` sets it for `ray start`.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

SOURCE = Path(__file__).parents[2]
"""Where `deployments` is imported from."""
RAY_ENV: Mapping[str, str] = {
    # HAProxy hands requests to the Ingress replicas; Ray's own proxy, which is one process a
    # node, takes them only while there is no replica.
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    # One event loop a replica, for Ray's server, its router and our code.
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    # Not a thousand records, which would come late and be lost with the replica.
    "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1",
    # HAProxy's datagram for each request would cost its manager, in Python, more CPU than HAProxy
    # itself takes. Replicas count requests instead.
    "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
    # HAProxy marks a replica down by its health checks and by refused connections, and has read
    # its new configuration within a second: an Ingress that is to go stays open as long. With
    # Ray's 30 s every stop and every new version would wait for them.
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "2",
    # A HAProxy that has been replaced finishes what it has: the longest request, and a margin.
    "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "60",
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "deployments.ingress.http.edge:middlewares",
    "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",
    # On a busy machine HAProxy's manager takes more than Ray's 5 s to start, and Ray would kill it.
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "30",
    # What an idle service costs: Ray's defaults make 14 % of a core.
    "RAY_SERVE_CONTROLLER_CALLBACK_IMPORT_PATH": "deployments.common.control_loop:slow_down_later",
    # Each replica hands its counters to Ray twice per report (10 s), and not a hundred times.
    "RAY_SERVE_METRICS_EXPORT_INTERVAL_MS": "5000",
    # Figures of nodes and processes, each 15 s as Prometheus scrapes, and of the dashboard itself,
    # each minute. Each 5 s took half of all that agent and dashboard use.
    "REPORTER_UPDATE_INTERVAL_MS": "15000",
    "METRICS_RECORD_INTERVAL_S": "60",
    # No statistics of each handler in the C++ processes, which only Ray's developers read.
    "RAY_event_stats": "0",
    # The raylet tells the GCS what is free twice a second and not ten times. Once a second it looks
    # for memory that runs out (four times), for garbage and for idle workers.
    "RAY_memory_monitor_refresh_ms": "1000",
    "RAY_raylet_report_resources_period_milliseconds": "500",
    "RAY_raylet_check_gc_period_milliseconds": "1000",
    "RAY_kill_idle_workers_interval_ms": "1000",
    # Tasks appear in the dashboard after 5 s and not 1 s.
    "RAY_task_events_report_interval_ms": "5000",
    # Ray runs replicas at nice 15: any other program of the machine would go before requests.
    "RAY_worker_niceness": "0",
    # A replica whose device is lost or whose model is stuck never finishes what it has: Ray kills
    # it, so that the Ingress repeats its requests elsewhere while they still have time.
    "RAY_SERVE_FORCE_STOP_UNHEALTHY_REPLICAS": "1",
    # Messages go straight from replica to replica; pixels would go by way of the object store,
    # which was seen to cost more CPU. Ray's limit of 4 MiB a message is six images.
    "RAY_SERVE_USE_GRPC_BY_DEFAULT": "1",
    "RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH": str(2**31 - 1),
    # glibc gives each thread that decodes an arena of its own, and what is freed in them stays
    # there: over 10,000 requests an ingress was seen to grow by 6 %, with two arenas by 1.5 %.
    "MALLOC_ARENA_MAX": "2",
    # Without these, each batch of pixels was given back to the system and fetched again: 40 to 330
    # page faults a request, 5 % of its CPU time. Larger blocks, such as bodies, still go back.
    "MALLOC_MMAP_THRESHOLD_": str(4 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(64 * 2**20),
    # Ray keeps 3 GB of logs for each replica by default: 512 MB, and five older files.
    "RAY_ROTATION_MAX_BYTES": str(16 * 2**20),
    "RAY_ROTATION_BACKUP_COUNT": "4",
    "RAY_USAGE_STATS_ENABLED": "0",
}
"""The same on every node."""


def read_node_env() -> dict[str, str]:
    """All of it, for a node with this checkout and this interpreter."""
    return {
        **RAY_ENV,
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(SOURCE / "deployments/haproxy/haproxy.sh"),
        "DENSENET_PYTHON": sys.executable,
    }


def prepare_environment() -> None:
    """Set it for what this process starts; what is set already is somebody's choice."""
    for name, value in read_node_env().items():
        os.environ.setdefault(name, value)
    path = filter(None, [str(SOURCE), os.environ.get("PYTHONPATH")])
    os.environ["PYTHONPATH"] = os.pathsep.join(path)


if __name__ == "__main__":
    for name, value in read_node_env().items():
        print(f"{name}={value}")
