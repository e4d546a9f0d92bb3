"""What OpenAPI says about the V3 answers."""

from typing import Any

STRING, INTEGER, NUMBER = {"type": "string"}, {"type": "integer"}, {"type": "number"}
LINKS = {"type": "array", "items": STRING}


def reply(status: str, required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    properties = {"status": {"type": "string", "enum": [status]}} | required
    return {"type": "object", "properties": properties | optional, "required": list(properties)}


META = {"type": "object", "description": "The parameters, in the service's own words."}
SUCCESS = reply(
    "success",
    {"generationTime": NUMBER, "id": INTEGER, "output": LINKS, "meta": META},
    nsfw_content_detected={"type": "array", "items": {"type": "boolean"}},
    credits_charged=INTEGER,
    credits_remaining=INTEGER,
    reproduction={"type": "object", "properties": {"of": INTEGER, "largest_difference": INTEGER | {"nullable": True}}},
)
PROCESSING = reply(
    "processing",
    {
        "tip": STRING,
        "eta": NUMBER,
        "messege": STRING,
        "message": STRING,
        "fetch_result": STRING,
        "id": INTEGER,
        "output": LINKS,
        "future_links": LINKS,
        "meta": META,
    },
)
FAILED = reply("failed", {"message": STRING, "output": LINKS}, id=INTEGER, tip=STRING)
ERROR = reply(
    "error",
    {"message": {"oneOf": [STRING, {"type": "object", "additionalProperties": LINKS}]}},
    tip=STRING,
    tips=STRING,
)

GENERATED = {200: {"oneOf": [SUCCESS, PROCESSING, FAILED, ERROR]}}
CANCELED = {200: {"oneOf": [reply("success", {"id": INTEGER, "message": STRING, "output": LINKS}), FAILED, ERROR]}}
OBJECT, ANY_STRING = {"type": "object"}, {"type": "string", "nullable": True}
ACCOUNT = {
    200: {
        "oneOf": [
            reply(
                "success",
                {
                    "email": STRING,
                    "plan": ANY_STRING,
                    "time_zone": STRING,
                    "balance": INTEGER,
                    "limits": OBJECT,
                    "used": OBJECT,
                    "resets_at": OBJECT,
                    "key": OBJECT,
                },
            ),
            ERROR,
        ]
    }
}
EVENT = {"type": "object", "properties": {"id": STRING, "type": STRING, "timestamp": STRING, "data": OBJECT}}
EVENT_LIST = {
    200: {
        "oneOf": [
            reply(
                "success",
                {"events": {"type": "array", "items": EVENT}, "cursor": INTEGER, "has_more": {"type": "boolean"}},
            ),
            ERROR,
        ]
    }
}
PRICE = {
    200: {
        "oneOf": [
            reply(
                "success",
                {
                    "mode": STRING,
                    "samples": INTEGER,
                    "credits": INTEGER,
                    "credits_per_image": INTEGER,
                    "balance": INTEGER,
                },
            ),
            ERROR,
        ]
    }
}
LOAD = {200: {"oneOf": [reply("ok", {"queue_num": INTEGER, "queue_time": INTEGER}), ERROR]}}
KEY = {"application/json": {"type": "object", "properties": {"key": ANY_STRING}}}
FETCH = {"application/json": {"type": "object", "properties": {"key": ANY_STRING, "request_id": INTEGER}}}
