"""The API as a Postman collection: every endpoint with an example, the host and the key as variables."""

import json
from typing import Any

from generation.samples import KEY_PLACEHOLDER
from generation.v3.handbook import examples
from generation.v3.handbook.reference import Endpoint, endpoints

SCHEMA = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"


def collection(base_url: str) -> dict[str, Any]:
    return {
        "info": {
            "name": "Atelier",
            "description": f"The API of {base_url}. Put your API key into the variable api_key.",
            "schema": SCHEMA,
        },
        "variable": [
            {"key": "base_url", "value": base_url},
            {"key": "api_key", "value": KEY_PLACEHOLDER},
        ],
        "item": [item(endpoint, base_url) for endpoint in endpoints().values()],
    }


def item(endpoint: Endpoint, base_url: str) -> dict[str, Any]:
    body = {"key": "{{api_key}}"} | examples.parameters(endpoint.name, base_url)
    path = examples.path(endpoint.name)
    return {
        "name": endpoint.name,
        "request": {
            "method": "POST",
            "description": f"{endpoint.summary}. {endpoint.description}",
            "header": [{"key": "Content-Type", "value": "application/json"}],
            "url": {
                "raw": f"{{{{base_url}}}}/api/v3/{path}",
                "host": ["{{base_url}}"],
                "path": ["api", "v3", *path.split("/")],
            },
            "body": {"mode": "raw", "raw": json.dumps(body, indent=2), "options": {"raw": {"language": "json"}}},
        },
    }
