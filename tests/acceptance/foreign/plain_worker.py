"""A worker in thirty lines of the standard library: it needs nothing but the task protocol.

python plain_worker.py http://127.0.0.1:6767/api weather [KEY SECRET]
"""

import json
import sys
import urllib.request

API, TOOL, *LOGIN = sys.argv[1:]
WORKER = "plain-worker"


def ask(path, body=None):
    """The JSON of one request; None for an empty answer."""
    headers = {"Content-Type": "application/json"}
    if LOGIN:
        headers |= {"X-Auth-Key": LOGIN[0], "X-Auth-Secret": LOGIN[1]}
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(API + path, data, headers), timeout=70) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def perform(task):
    """The tool itself: its arguments are the task's input."""
    return {"result": f"18 degrees in {task['inputData']['city']}"}


tasks = []
while True:
    tasks = tasks or ask(f"/tasks/poll/batch/{TOOL}?workerid={WORKER}&count=1&timeout=5000")
    for task in tasks:
        result = {key: task[key] for key in ("taskId", "workflowInstanceId")} | {"workerId": WORKER}
        try:
            result |= {"status": "COMPLETED", "outputData": perform(task)}
        except Exception as problem:
            result |= {"status": "FAILED", "reasonForIncompletion": str(problem)}
        # The answer is the next task of the queue, if there is one: it is ours now.
        following = ask("/tasks/update-v2", result)
        tasks = [following] if following else []
