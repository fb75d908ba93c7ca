"""The faults of a cluster, one function each: it does the harm, ends it, and says in a few words what it was."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import MappingProxyType

from tests.crash.cluster import Cluster

Fault = Callable[[Cluster], str]


def kill_a_replica(cluster: Cluster) -> str:
    replica = cluster.chance.choice(cluster.replicas)
    replica.kill()
    _rest(cluster, 0.001, 2.0)
    replica.start()
    return replica.name


def kill_all_replicas(cluster: Cluster) -> str:
    for replica in cluster.replicas:
        replica.kill()
    for replica in cluster.replicas:
        replica.start()
    return f"{len(cluster.replicas)} at once"


def kill_the_app(cluster: Cluster) -> str:
    cluster.app.kill()
    cluster.app.start()
    return "and start it"


def stop_postgres_at_once(cluster: Cluster) -> str:
    cluster.postgres.stop("immediate")
    down = _rest(cluster, 0.01, 2.0)
    cluster.postgres.start()
    return f"away for {down:.1f} s"


def terminate_backends(cluster: Cluster) -> str:
    done = 0
    for _ in range(cluster.chance.randint(1, 4)):
        done += cluster.postgres.kill_backends(cluster.chance.randint(1, 8), cluster.chance)
        _rest(cluster, 0.001, 0.3)
    return f"{done} of them"


def freeze_a_replica(cluster: Cluster) -> str:
    """For longer than its lease: what it was doing is done by others, and what it still says is refused."""
    replica = cluster.chance.choice(cluster.replicas)
    replica.pause()
    time.sleep(cluster.lease_s + 1 + cluster.chance.random())
    replica.resume()
    return replica.name


def cut_a_replica_off(cluster: Cluster) -> str:
    """No way to the database, and each connection is told so."""
    place = cluster.chance.randrange(len(cluster.links))
    link = cluster.links[place]
    cluster.proxies.tell(link.refuse)
    seconds = _rest(cluster, 0.01, cluster.lease_s + 2)
    cluster.proxies.tell(link.heal)
    return f"replica-{place}, for {seconds:.1f} s"


def silence_a_replica(cluster: Cluster) -> str:
    """What it says, or what it is told, or both, does not arrive, and nobody notices; later it does, or never will."""
    place = cluster.chance.randrange(len(cluster.links))
    link = cluster.links[place]
    ways = cluster.chance.choice([("up",), ("down",), ("up", "down")])
    cluster.proxies.tell(link.silence, *ways)
    seconds = _rest(cluster, 0.1, cluster.lease_s + 2)
    lost = cluster.chance.random() < 0.3
    if lost:
        cluster.proxies.tell(link.lose)
    cluster.proxies.tell(link.heal)
    return f"replica-{place} {' and '.join(ways)}, for {seconds:.1f} s{', connections lost' if lost else ''}"


def slow_down_a_replica(cluster: Cluster) -> str:
    place = cluster.chance.randrange(len(cluster.links))
    link = cluster.links[place]
    cluster.proxies.tell(link.delay, 0.05)
    _rest(cluster, 1.0, 2.0)
    cluster.proxies.tell(link.heal)
    return f"replica-{place}"


def strike_commits(cluster: Cluster) -> str:
    """The answer to a COMMIT does not arrive: did it take effect?"""
    before = sum(link.struck for link in cluster.links)
    for link in cluster.links:
        cluster.proxies.tell(link.strike, cluster.chance.randint(1, 5))
    _rest(cluster, 0.5, 1.5)
    for link in cluster.links:
        cluster.proxies.tell(link.heal)
    return f"{sum(link.struck for link in cluster.links) - before} of them"


FAULTS: Mapping[str, Fault] = MappingProxyType(
    {
        each.__name__.replace("_", " "): each
        for each in (
            kill_a_replica,
            kill_all_replicas,
            kill_the_app,
            stop_postgres_at_once,
            terminate_backends,
            freeze_a_replica,
            cut_a_replica_off,
            silence_a_replica,
            slow_down_a_replica,
            strike_commits,
        )
    }
)


def _rest(cluster: Cluster, low: float, high: float) -> float:
    """As long as a log-uniform draw says: most faults are short, and hit what is just under way."""
    seconds: float = low * (high / low) ** cluster.chance.random()
    time.sleep(seconds)
    return seconds
