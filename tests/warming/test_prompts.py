"""Prompts in files: what is understood, and where a mistake is."""

from __future__ import annotations

from pathlib import Path

import pytest

from langchain_cluster import ConfigError
from langchain_cluster.warming import read_prompts


def written(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_a_text_file_has_one_prompt_a_line(tmp_path: Path) -> None:
    prompts = read_prompts(written(tmp_path, "p.txt", "\ufeffWhat is 1?\n\n  # two  \r\n{not json}\n"))
    assert [prompt.input for prompt in prompts] == ["What is 1?", "# two", "{not json}"]
    assert [prompt.place for prompt in prompts] == ["line 1", "line 3", "line 4"]


def test_a_json_line_is_a_text_or_says_more(tmp_path: Path) -> None:
    lines = [
        '"plain"',
        '{"prompt": "x", "system": "s", "tenant": "ann", "tags": ["a"], "tier": "t", "zone": "z"}',
        '{"messages": [{"role": "user", "content": "x"}], "agent": "planner", "stop": "###"}',
        '{"messages": [["human", "x"]], "arguments": {"max_tokens": 5}}',
    ]
    plain, said, agent, arguments = read_prompts(written(tmp_path, "p.jsonl", "\n".join(lines)))
    assert plain.input[0].content == "plain"
    assert [message.type for message in said.input] == ["system", "human"]
    assert said.config == {
        "configurable": {"cluster": {"tenant": "ann", "tags": ["a"], "tier": "t", "zone": "z"}}
    }
    assert agent.config["metadata"] == {"lc_agent_name": "planner"}
    assert agent.stop == ["###"]
    assert arguments.arguments == {"max_tokens": 5}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "line 2: this is no JSON"),
        ("3", "line 2: a int is no prompt: give a text, or an object such as"),
        ('{"prompt": 3}', "line 2: prompt 3 is not a text"),
        ('{"prompt": " "}', "line 2: prompt ' ' is not a text"),
        ('{"promt": "x"}', "line 2: unknown key 'promt'.*did you mean 'prompt'"),
        ("{}", "line 2: give either prompt or messages"),
        ('{"prompt": "x", "messages": []}', "line 2: give either"),
        ('{"prompt": "x", "system": 1}', "line 2: system 1"),
        ('{"messages": [["human", "x"]], "system": "s"}', "line 2: system goes with prompt"),
        ('{"messages": []}', "line 2: its messages are none LangChain knows: there are none"),
        ('{"messages": [{"role": "nobody", "content": "x"}]}', "line 2: its messages are none"),
        ('{"prompt": "x", "tenant": 3}', "line 2: tenant: 3 is not a text"),
        ('{"prompt": "x", "stop": 3}', "line 2: stop 3"),
        ('{"prompt": "x", "arguments": [3]}', "line 2: arguments"),
        ('{"prompt": "x", "agent": 3}', "line 2: agent 3"),
    ],
)
def test_a_mistake_is_told_with_its_line(line: str, says: str, tmp_path: Path) -> None:
    path = written(tmp_path, "p.jsonl", f'{{"prompt": "fine"}}\n{line}\n')
    with pytest.raises(ConfigError, match=rf"p\.jsonl: {says}"):
        read_prompts(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "cannot be read: No such file"), (b"\xff", "is not UTF-8"), (b"\n \n", "has no prompts")],
)
def test_a_file_that_is_none_is_told(content: bytes | None, says: str, tmp_path: Path) -> None:
    path = tmp_path / "p.txt" if content is None else written(tmp_path, "p.txt", content)
    with pytest.raises(ConfigError, match=says):
        read_prompts(path)
