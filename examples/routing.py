"""What a call needs decides who may answer it: python examples/routing.py"""

from langchain_cluster import ClusteredLLM, Endpoint, NoEndpointAvailable
from langchain_cluster.testing import ScriptedModel

llm = ClusteredLLM(
    [
        Endpoint("small", ScriptedModel("a word"), capabilities={"tools"}, context_window=2_000),
        Endpoint("large", ScriptedModel("a tale"), capabilities={"tools"}, context_window=128_000),
        Endpoint("seer", ScriptedModel("a cat"), capabilities={"vision"}, context_window=32_000, tier="eyes"),
    ],
    balancer="round_robin",
)
PICTURE = ("human", [{"type": "image", "base64": "iVBORw0KGgo=", "mime_type": "image/png"}])


def ask(what, prompt, model=llm, **cluster):
    try:
        message = model.invoke(prompt, {"configurable": {"cluster": cluster}})
        print(f"{what}: {message.response_metadata['cluster']['endpoint']} says {message.text}")
    except NoEndpointAvailable as error:
        print(f"{what}: {error}")


ask("a question", "hello")
ask("a book", "word " * 50_000)
ask("a picture", [PICTURE])
ask("a picture and a tool", [PICTURE], llm.bind_tools([ask]))
ask("a tool in the wrong tier", "hello", llm.bind_tools([ask]), tier="eyes")
llm.cluster.close()
