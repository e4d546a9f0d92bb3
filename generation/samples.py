"""Writes one API request as a program, in six languages, with its texts quoted so that any prompt arrives as it is."""

import json
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

KEY_PLACEHOLDER = "YOUR_API_KEY"
LONGEST_ARGUMENT_BYTES = 100_000  # Linux takes 128 KiB in one argument, and a base64 image is soon longer
LONGEST_CONSTANT_BYTES = 40_000  # javac takes 65,535, of a UTF-8 with six bytes instead of four past U+FFFF


@dataclass(frozen=True)
class Sample:
    """A program that makes the request and shows the answer."""

    language: str  # for ids: "python"
    label: str  # for people: "Python"
    text: str


def samples(base_url: str, endpoint: str, parameters: Mapping[str, Any], key: str = KEY_PLACEHOLDER) -> list[Sample]:
    """Return the request in every language.

    `base_url` is the site's address without a slash at its end, `endpoint` what comes after `/api/v3/` ("img2img",
    "fetch/7"), and `parameters` are JSON values by name; the key goes with them.
    """
    url, body = f"{base_url}/api/v3/{endpoint}", {"key": key, **parameters}
    return [Sample(language, label, write(url, body)) for language, (label, write) in LANGUAGES.items()]


def curl(url: str, body: dict[str, Any]) -> str:
    head, data = f"curl {shlex.quote(url)} \\\n  -H 'Content-Type: application/json' \\\n  -d", as_json(body)
    if len(data.encode()) > LONGEST_ARGUMENT_BYTES:
        return f"{head} @- <<'JSON'\n{data}\nJSON"  # which no line of the body is
    return f"{head} {shlex.quote(data)}"


def python(url: str, body: dict[str, Any]) -> str:
    return f"""import requests

answer = requests.post(
    {quoted(url)},
    json={nested(as_python(body), 4)},
    timeout=60,
).json()
print(answer)"""


def javascript(url: str, body: dict[str, Any]) -> str:
    return f"""const response = await fetch({quoted(url)}, {{
  method: "POST",
  headers: {{ "Content-Type": "application/json" }},
  body: JSON.stringify({nested(as_json(body), 2)}),
}});
console.log(await response.json());"""


def node(url: str, body: dict[str, Any]) -> str:
    return f"""// Node.js 18 or newer: node sample.mjs
import {{ writeFile }} from "node:fs/promises";

const response = await fetch({quoted(url)}, {{
  method: "POST",
  headers: {{ "Content-Type": "application/json" }},
  body: JSON.stringify({nested(as_json(body), 2)}),
}});
const answer = await response.json();
console.log(answer);

for (const link of answer.output ?? []) {{
  const image = await fetch(link);
  await writeFile(new URL(link).pathname.split("/").pop(), Buffer.from(await image.arrayBuffer()));
}}"""


def php(url: str, body: dict[str, Any]) -> str:
    return f"""<?php
$request = curl_init({php_quoted(url)});
curl_setopt_array($request, [
    CURLOPT_POST => true,
    CURLOPT_RETURNTRANSFER => true,
    CURLOPT_HTTPHEADER => ["Content-Type: application/json"],
    CURLOPT_POSTFIELDS => json_encode({nested(as_php(body), 4)}),
]);
$answer = json_decode(curl_exec($request), true);
print_r($answer);"""


def java(url: str, body: dict[str, Any]) -> str:
    return f"""import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;

public class Sample {{
    public static void main(String[] args) throws Exception {{
        var body = {java_text(as_json(body))};
        var request = HttpRequest.newBuilder(URI.create({quoted(url)}))
            .header("Content-Type", "application/json")
            .POST(BodyPublishers.ofString(body))
            .build();
        var response = HttpClient.newHttpClient().send(request, BodyHandlers.ofString());
        System.out.println(response.body());
    }}
}}"""


LANGUAGES: dict[str, tuple[str, Callable[[str, dict[str, Any]], str]]] = {
    "curl": ("cURL", curl),
    "python": ("Python", python),
    "javascript": ("JavaScript", javascript),
    "node": ("Node.js", node),
    "php": ("PHP", php),
    "java": ("Java", java),
}

LABELS = {language: label for language, (label, _) in LANGUAGES.items()}


def as_json(body: dict[str, Any]) -> str:
    """Return the body as JSON, which JavaScript reads too."""
    return json.dumps(body, ensure_ascii=False, indent=2)


def as_python(body: dict[str, Any]) -> str:
    lines = [f"    {quoted(name)}: {python_value(value)},\n" for name, value in body.items()]
    return "{\n" + "".join(lines) + "}"


def as_php(body: dict[str, Any]) -> str:
    lines = [f"    {php_quoted(name)} => {php_value(value)},\n" for name, value in body.items()]
    return "[\n" + "".join(lines) + "]"


def python_value(value: Any) -> str:
    return quoted(value) if isinstance(value, str) else repr(value)


def php_value(value: Any) -> str:
    return php_quoted(value) if isinstance(value, str) else json.dumps(value)


def quoted(text: str) -> str:
    """Return the text as a literal of JSON, which Python, JavaScript and Java read alike."""
    return json.dumps(text, ensure_ascii=False)


def php_quoted(text: str) -> str:
    """Return the text as a literal of PHP: JSON's, but for dollars, backspaces and code points."""
    spelled = {"$": "\\$", "\\b": "\\x08"}
    return re.sub(
        r"\\u([0-9a-f]{4})|\\.|\$",
        lambda match: f"\\u{{{match[1]}}}" if match[1] else spelled.get(match[0], match[0]),
        quoted(text),
    )


def java_text(text: str) -> str:
    """Return JSON for Java: as a text block or, where that is too long, as literals that are joined when it runs."""
    data = text.encode()
    if len(data) <= LONGEST_CONSTANT_BYTES:
        # Of what JSON is made of only the backslash means something in a text block.
        return f'"""\n{" " * 12}' + nested(text.replace("\\", "\\\\"), 12) + '"""'
    ends = [0]
    while ends[-1] < len(data):
        end = min(ends[-1] + LONGEST_CONSTANT_BYTES, len(data))
        while end < len(data) and data[end] & 0xC0 == 0x80:  # inside a character
            end -= 1
        ends.append(end)
    pieces = [quoted(data[start:end].decode()) for start, end in pairwise(ends)]
    return f'String.join("",\n{" " * 12}' + f",\n{' ' * 12}".join(pieces) + ")"


def nested(text: str, by: int) -> str:
    """Return the lines after the first one further in."""
    first, *rest = text.split("\n")
    return "\n".join([first, *(" " * by + line for line in rest)])
