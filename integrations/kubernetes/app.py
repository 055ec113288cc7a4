"""The example app: a question in, an answer out, from one of the model pods. `uvicorn app:app` serves it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from langchain_cluster import ClusteredLLM
from langchain_cluster.errors import DeadlineExceeded, NoEndpointAvailable

llm = ClusteredLLM.from_config(os.environ["CLUSTER_CONFIG"])


@asynccontextmanager
async def running(app: Starlette) -> AsyncIterator[None]:
    """Discovery begins with the pod, not with its first call; at the end calls in flight finish."""
    async with llm.cluster:
        yield


async def ask(request: Request) -> JSONResponse:
    """POST {"question": "..."}."""
    question = str((await request.json())["question"])
    try:
        answer = await llm.ainvoke(question)
    except (NoEndpointAvailable, DeadlineExceeded) as error:
        return JSONResponse({"error": str(error)}, status_code=503)
    return JSONResponse({"answer": answer.text, "endpoint": answer.response_metadata["cluster"]["endpoint"]})


async def health(request: Request) -> JSONResponse:
    """The process answers."""
    return JSONResponse({"status": "ok"})


async def ready(request: Request) -> JSONResponse:
    """A call would find somebody."""
    there = len(llm.cluster.pool.snapshot.ready)
    return JSONResponse({"endpoints": there}, status_code=200 if there else 503)


app = Starlette(
    routes=[Route("/ask", ask, methods=["POST"]), Route("/health", health), Route("/ready", ready)],
    lifespan=running,
)
