"""The admin app over a running cluster: look at it, take an endpoint out, be refused without a token."""

import os

from starlette.testclient import TestClient

from langchain_cluster import ClusteredLLM, Endpoint
from langchain_cluster.admin import TOKEN_ENV, create_app
from langchain_cluster.testing import ScriptedModel

os.environ[TOKEN_ENV] = "correct-horse-battery-staple"

llm = ClusteredLLM(
    [Endpoint("gpu-1", model=ScriptedModel("one")), Endpoint("gpu-2", model=ScriptedModel("two"))], cache=None
)
app = create_app(llm)  # uvicorn.run(app, port=9465) serves it, with a dashboard at /
client = TestClient(app, base_url="http://127.0.0.1:9465", client=("127.0.0.1", 50_000))

with llm.cluster:
    print("without a token:", client.post("/endpoints/gpu-1/drain").status_code)
    bearer = {"Authorization": f"Bearer {os.environ[TOKEN_ENV]}"}
    drained = client.post("/endpoints/gpu-1/drain", headers=bearer).json()
    print("with it:", drained["endpoint"]["id"], "is", drained["endpoint"]["state"])
    print("who answers now:", llm.invoke("Hello").response_metadata["cluster"]["endpoint"])
    for endpoint in client.get("/endpoints").json()["endpoints"]:
        print(endpoint["id"], endpoint["state"], f"{endpoint['share']:.0%} of the traffic")
