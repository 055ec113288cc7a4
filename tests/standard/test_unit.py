"""LangChain's standard unit suite."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_tests.unit_tests import ChatModelUnitTests

from langchain_cluster import ClusteredLLM, Endpoint
from langchain_cluster.testing import ScriptedModel


@pytest.mark.filterwarnings("ignore:api_key is not used")  # the suite gives one to every model
class TestUnit(ChatModelUnitTests):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ClusteredLLM

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"endpoints": [Endpoint(f"gpu-{n}", ScriptedModel("hello")) for n in range(3)]}

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return "another"

    def test_an_api_key_is_taken_and_said_to_be_of_no_use(self) -> None:
        with pytest.warns(UserWarning, match="the model of each endpoint has its own"):
            ClusteredLLM(**self.chat_model_params, api_key="secret")
