"""The service does what its /openapi.json says: requests made up from it, valid and not, by schemathesis."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from servicecalls import Served

schemathesis = pytest.importorskip("schemathesis")

CONFIG = Path(__file__).with_name("schemathesis.toml")


@pytest.fixture(scope="module")
def served(bundle_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service."""
    running = Served(tmp_path_factory.mktemp("openapi"), f"pets={bundle_path}", "--max-batch", "2", "--decoders", "1")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def described(served: Served) -> Any:
    """What it says of itself."""
    config = schemathesis.Config.from_path(CONFIG)
    return schemathesis.openapi.from_url(f"{served.url}/openapi.json", config=config)


@pytest.mark.parametrize("mode", ["positive", "negative"])
def test_it_does_what_it_says(described: Any, mode: str) -> None:
    """Every check of schemathesis, on every route, with requests that fit the document and some that do not."""
    n = 0
    for found in described.get_all_operations():
        operation = found.ok()
        if mode == "negative" and not operation.body:
            continue  # nothing can be wrong with it: a name is any text

        @given(case=operation.as_strategy(generation_mode=schemathesis.GenerationMode(mode)))
        @settings(max_examples=5, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
        def ask(case: Any) -> None:
            case.call_and_validate()

        ask()
        n += 1
    assert n == (13 if mode == "positive" else 3)


def test_examples_can_be_sent_as_they_stand(served: Served) -> None:
    paths = served.client.get("/openapi.json").json()["paths"]
    n = 0
    for path, operations in paths.items():
        for example in (
            each["value"]
            for operation in operations.values()
            for each in operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            .get("examples", {}).values()
        ):  # fmt: skip
            assert served.client.post(path.replace("{name}", "pets"), json=example).status_code == 200
            n += 1
    assert n == 6


def test_every_route_names_its_errors(served: Served) -> None:
    document = served.client.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert {"200", "400", "401", "403", "421", "500"} <= set(operation["responses"])
            if "requestBody" in operation:
                assert {"408", "413", "422", "503"} <= set(operation["responses"])
        assert path.startswith(("/v1/", "/v2", "/livez", "/readyz", "/metrics"))
