"""When the service is ready, or why it will not be."""

from collections.abc import Set

import requests
from ray import serve
from ray.serve.schema import ApplicationStatus, ApplicationStatusOverview

from deployments.common.errors import StartupError
from deployments.launcher.config import Config
from deployments.launcher.stop_signal import StopSignal

POLL_PERIOD_S = 0.25
ANSWER_WITHIN_S = 5.0


def wait_until_ready(config: Config, stop: StopSignal, replaced: Set[str]) -> bool:
    """True once each application is ready, False when stopped before. Raises StartupError.

    replaced: names of applications whose former version still responds. The new one is ready when
        Ray has replaced all of it.
    """
    while not stop.wait(POLL_PERIOD_S):
        found = {
            name: each for name, each in serve.status().applications.items() if name in config.names
        }
        for name, application in found.items():
            check_application(name, application)
        if any(found[name].status != ApplicationStatus.RUNNING for name in replaced & found.keys()):
            continue
        try:
            if all(ask_ready(url).ok for url in config.urls):
                return True
        except (requests.ConnectionError, requests.Timeout):
            continue  # the proxy, or the Ingress behind it, is not up yet
    return False


def check_application(name: str, application: ApplicationStatusOverview) -> None:
    """Raises StartupError: in our own words where the failure is one of ours, else in Ray's.

    Ray tries a replica that failed three times before it gives up; what is ours stays so.
    """
    messages = [application.message]
    messages += [deployment.message for deployment in application.deployments.values()]
    for message in messages:
        _, ours, words = message.rpartition(f"{StartupError.__name__}: ")
        if ours:
            raise StartupError(words.strip().splitlines()[0])
    if application.status == ApplicationStatus.DEPLOY_FAILED:
        failed = [f"application {name!r} failed to deploy.", *filter(None, messages)]
        raise StartupError("\n".join(failed))


def ask_ready(url: str) -> requests.Response:
    return ask(f"{url}/readyz")


def ask(url: str) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False  # `http_proxy` is for other machines
        return session.get(url, timeout=ANSWER_WITHIN_S)
