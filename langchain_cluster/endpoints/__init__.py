"""The LangChain side of an attempt: ask a chat model, and judge what came back."""

from langchain_cluster.endpoints.caller import ModelCaller
from langchain_cluster.endpoints.classify import classify

__all__ = ["ModelCaller", "classify"]
