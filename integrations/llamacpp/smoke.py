"""Two llama.cpp servers behind one chat model; exits 1 unless every question was answered."""

import sys

from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from langchain_cluster import ClusteredLLM, Endpoint
from langchain_cluster.testing.local_llm import MODEL, LocalLLM


def main() -> int:
    """Ask, kill one server, ask again."""
    servers = [LocalLLM("llm-1"), LocalLLM("llm-2")]
    with servers[0], servers[1]:
        llm = ClusteredLLM(
            endpoints=[
                Endpoint(
                    server.name,
                    model=ChatOpenAI(
                        base_url=server.openai_url, model=MODEL, api_key=SecretStr("-"), temperature=0
                    ),
                    context_window=2048,
                )
                for server in servers
            ],
            max_tokens=24,
        )
        with llm.cluster:
            answers = llm.batch([f"What is {n} plus {n}?" for n in range(8)])
            servers[0].kill()
            answers += llm.batch([f"What is {n} times {n}?" for n in range(8)])
            failed = llm.cluster.stats()["failed"]
    served = {answer.response_metadata["cluster"]["endpoint"] for answer in answers}
    sys.stdout.write(f"{len(answers)} answers from {', '.join(sorted(served))}; {failed} calls failed\n")
    return 0 if failed == 0 and all(answer.text for answer in answers) else 1


if __name__ == "__main__":
    sys.exit(main())
