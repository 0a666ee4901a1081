"""`config/cluster.yaml` on a real Ray of three nodes: spread, scaled by images, healed."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import yaml

from testing.cluster import Service, serving
from testing.labelled_requests import synthetic_data
from testing.load_client import Client
from testing.ports import find_free_port
from testing.service import ROOT

AT_LEAST, AT_MOST = 2, 3
"""Classifier replicas."""


def write_cluster_config(folder: Path) -> Path:
    """With a stub for a model, in a hurry, and on one machine: three nodes have one port 5000."""
    document = yaml.safe_load((ROOT / "config" / "cluster.yaml").read_text())
    document["proxy_location"] = "HeadOnly"
    document["http_options"] |= {"host": "0.0.0.0", "port": find_free_port()}  # noqa: S104
    del document["grpc_options"]
    (application,) = document["applications"]
    application["import_path"] = "testing.stub:build_medium"
    application["args"] |= {"weights": "auto", "device": "cpu", "allow_anonymous": True}
    application["logging_config"]["logs_dir"] = str(folder / "logs")
    ingress, classifier = application["deployments"]
    ingress["ray_actor_options"]["num_cpus"] = 0.5
    ingress["autoscaling_config"]["max_replicas"] = 2
    hurry = {"upscale_delay_s": 0.5, "downscale_delay_s": 2, "look_back_period_s": 2}
    classifier["autoscaling_config"] |= {"min_replicas": AT_LEAST, "max_replicas": AT_MOST} | hurry
    classifier["autoscaling_config"]["policy"]["policy_kwargs"]["images_per_replica"] = 16
    classifier["user_config"] |= {"max_batch_size": 8, "max_queue_wait_s": 60}
    path = folder / "cluster.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with pytest.MonkeyPatch.context() as environment:
        # How often replicas tell the controller of themselves; ten seconds by default.
        environment.setenv("RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S", "0.5")
        environment.setenv("RAY_AUTH_MODE", "token")
        with serving(write_cluster_config(tmp_path_factory.mktemp("cluster"))) as service:
            yield service


def wait_until(is_so: Callable[[], bool], within_s: float) -> None:
    give_up = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < give_up
        time.sleep(0.2)


def test_replicas_are_spread_over_the_nodes(cluster: Service) -> None:
    for deployment in ("Ingress", "Classifier"):
        wait_until(partial(runs_twice, cluster, deployment), within_s=60)
        assert len(set(cluster.nodes_of(deployment))) == 2


def runs_twice(cluster: Service, deployment: str) -> bool:
    return len(cluster.nodes_of(deployment)) == 2


def test_classifiers_come_with_the_images_and_go_with_them(cluster: Service) -> None:
    client = Client(cluster.url)
    arrivals_s = [0.4 * index for index in range(30)]  # 80 images/s, twice what two can do
    to_send = synthetic_data().make_requests(32)
    asking = threading.Thread(target=asyncio.run, args=[client.send(to_send, arrivals_s)])
    asking.start()
    wait_until(lambda: len(cluster.nodes_of("Classifier")) == AT_MOST, within_s=40)
    asking.join()
    assert (client.tally.lost, client.tally.wrong) == (0, 0)
    wait_until(lambda: len(cluster.nodes_of("Classifier")) == AT_LEAST, within_s=60)


def test_a_node_that_is_lost_is_made_up_for_by_the_others(cluster: Service) -> None:
    wait_until(lambda: count_replicas(cluster) == 4, within_s=60)
    client = Client(cluster.url)
    arrivals_s = [0.2 * index for index in range(50)]
    to_send = synthetic_data().make_requests(4)
    asking = threading.Thread(target=asyncio.run, args=[client.send(to_send, arrivals_s)])
    asking.start()
    time.sleep(1)
    cluster.kill_node()
    assert count_replicas(cluster) < 4
    asking.join()
    assert (client.tally.lost, client.tally.wrong) == (0, 0)
    wait_until(lambda: count_replicas(cluster) == 4, within_s=60)


def count_replicas(cluster: Service) -> int:
    """Of both tiers, by their processes: Ray may be slow to notice."""
    return len(cluster.find("ingress")) + len(cluster.find("classifier"))
