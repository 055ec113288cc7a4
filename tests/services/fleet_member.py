"""One process of a fleet that checks a model: python fleet_member.py SERVER VALKEY. Ends when told to."""

from __future__ import annotations

import os
import sys
import time

from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from langchain_cluster import Cluster, Endpoint, HealthPolicy
from langchain_cluster.health import ModelCheck
from langchain_cluster.leadership import RedisLeadership

EVERY, LEASE = 0.5, 2.0

if __name__ == "__main__":
    server, valkey = sys.argv[1:]
    model = ChatOpenAI(base_url=f"{server}/v1", model="m", api_key=SecretStr("-"), max_retries=0)
    leader = RedisLeadership(valkey, name="processes", lease=LEASE)
    check = ModelCheck(every=EVERY, timeout=1.0, prompt=str(os.getpid()), leader=leader)
    with Cluster([Endpoint("gpu-1", model)], health=HealthPolicy(check=check, interval=0.1)):
        time.sleep(3600)
