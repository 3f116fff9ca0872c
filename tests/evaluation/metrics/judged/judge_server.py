"""A chat model in place of a judge: it answers over HTTP in the forms that CRIMSON and RadMatch ask for.

A report's sentences are its findings; a finding without the word "no" is abnormal. Equal sentences match.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def findings_of(report: str) -> list[str]:
    return [sentence.strip() for sentence in report.split(".") if sentence.strip()]


def compare(told: list[str], true: list[str]) -> dict:
    """The answer that CRIMSON asks for."""
    ids = {"predicted": {text: f"P{n}" for n, text in enumerate(told, 1)}}
    ids["reference"] = {text: f"R{n}" for n, text in enumerate(true, 1)}
    listed = {
        f"{side}_findings": [
            {"id": name, "finding": text, "clinical_significance": "urgent"} for text, name in known.items()
        ]
        for side, known in ids.items()
    }
    both = [text for text in told if text in true]
    matched = [{"ref_id": ids["reference"][text], "pred_id": ids["predicted"][text]} for text in both]
    errors = {
        "false_findings": [ids["predicted"][text] for text in told if text not in true],
        "missing_findings": [ids["reference"][text] for text in true if text not in told],
        "attribute_errors": [],
    }
    return {**listed, "matched_findings": matched, "errors": errors}


def match(payload: dict) -> dict:
    """The answer that RadMatch's second stage asks for."""
    told = {finding["text"]: finding["finding_id"] for finding in payload["pred_findings"]}
    true = {finding["text"]: finding["finding_id"] for finding in payload["gt_findings"]}
    both = [text for text in told if text in true]
    return {
        "matches": [{"pred_id": told[text], "gt_id": true[text], "reasoning": "equal"} for text in both],
        "unmatched_pred": [name for text, name in told.items() if text not in true],
        "unmatched_gt": [name for text, name in true.items() if text not in told],
    }


def extract(report: str) -> dict:
    """The answer that RadMatch's first stage asks for."""
    shared = {"comparison": None, "measurements": [], "clinical_significance": "urgent"}
    status = ("abnormal", "normal")
    return {
        "findings": [
            {"text": text, "clinical_status": status["no" in text.lower().split()], **shared}
            for text in findings_of(report)
        ]
    }


def answer(request: dict) -> str:
    """Answer one request of a chat."""
    question = request["messages"][-1]["content"]
    form = (request.get("response_format") or {}).get("json_schema", {}).get("name", "")
    if "Predicted Findings (Candidate):" in question:
        texts = question.split("Reference Findings (Ground Truth):\n")[1]
        true, told = texts.split("Predicted Findings (Candidate):\n")
        return json.dumps(compare(findings_of(told.split("\nTask:")[0]), findings_of(true)))
    if form == "findings_output":
        return json.dumps(extract(question.split("report:\n\n")[1]))
    if form == "matching_output":
        return json.dumps(match(json.loads(question)))
    if form == "attribute_errors_output":
        return json.dumps({"errors_per_match": [[] for _ in json.loads(question)["pairs"]]})
    raise ValueError(f"nobody asks this: {question[:200]}")


@contextmanager
def serve(reply=answer) -> Iterator[str]:
    """Serve the judge at an address of this machine; yield the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            model = {"id": "judge", "object": "model", "created": 0, "owned_by": "test"}
            self._send({"object": "list", "data": [model]})

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            message = {"role": "assistant", "content": reply(request)}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
            self._send({"id": "1", "object": "chat.completion", "created": 0, "model": "judge", "choices": [choice],
                        "usage": usage})  # fmt: skip

        def _send(self, body: dict) -> None:
            content = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_) -> None:
            """Write no line for a request."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
