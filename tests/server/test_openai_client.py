"""The official `openai` client, unchanged, against the reference server: what it takes, SGLang's clients take."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import openai
import pytest

from tests.servers import Server, running_server


@pytest.fixture(params=["sim", "clip"])
def server(request: pytest.FixtureRequest) -> Server:
    return request.getfixturevalue(request.param)


@pytest.fixture
def client(server: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, timeout=30) as client:
        yield client


def test_a_list_of_texts_in_both_formats(client: openai.OpenAI) -> None:
    texts = ["a dog", "a cat", "two dogs"]
    coded = client.embeddings.create(model="m", input=texts)  # the client asks for base64 and decodes it
    plain = client.embeddings.create(model="m", input=texts, encoding_format="float")
    assert [row.index for row in coded.data] == [0, 1, 2]
    vectors = [np.array([row.embedding for row in reply.data]) for reply in (coded, plain)]
    assert vectors[0] == pytest.approx(vectors[1], abs=1e-6)
    assert np.linalg.norm(vectors[0], axis=1) == pytest.approx(1, abs=1e-5)
    assert coded.usage.prompt_tokens == coded.usage.total_tokens == plain.usage.total_tokens > 0
    assert (coded.object, coded.data[0].object) == ("list", "embedding")


def test_one_string(client: openai.OpenAI) -> None:
    assert len(client.embeddings.create(model="m", input="a dog").data) == 1


def test_models_are_listed_and_retrieved(client: openai.OpenAI) -> None:
    (model,) = client.models.list().data
    assert client.models.retrieve(model.id).id == model.id
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        client.models.retrieve("other")


def test_refusals_are_bad_requests(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="matryoshka"):
        client.embeddings.create(model="m", input="a", dimensions=8)
    with pytest.raises(openai.BadRequestError, match="context length"):
        client.embeddings.create(model="m", input="a " * 100)


def test_the_key_is_sent_as_a_bearer() -> None:
    with running_server("sim", env={"CLIPLOAD_SERVE_API_KEY": "sesame"}) as server:
        for key, opens in (("sesame", True), ("parsley", False)):
            with openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0, timeout=30) as client:
                if opens:
                    assert client.embeddings.create(model="m", input="a").data
                else:
                    with pytest.raises(openai.AuthenticationError):
                        client.embeddings.create(model="m", input="a")
