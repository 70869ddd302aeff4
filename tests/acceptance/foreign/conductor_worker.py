"""A worker and a client written against conductor-python 2.0.0: nothing of ours is imported.

python conductor_worker.py work http://127.0.0.1:6767/api [KEY SECRET]
python conductor_worker.py read http://127.0.0.1:6767/api EXECUTION_ID [KEY SECRET]
"""

import json
import sys

from conductor.client.automator.task_handler import TaskHandler
from conductor.client.configuration.configuration import Configuration
from conductor.client.configuration.settings.authentication_settings import AuthenticationSettings
from conductor.client.http.models.task_def import TaskDef
from conductor.client.orkes_clients import OrkesClients
from conductor.client.worker.worker_task import worker_task


@worker_task(task_definition_name="weather", poll_interval_millis=50)
def weather(city: str) -> str:
    return f"18 degrees in {city}"


@worker_task(task_definition_name="forecast", poll_interval_millis=50)
def forecast(city: str, days: int) -> dict:
    return {"city": city, "days": days, "sky": "clear"}


@worker_task(task_definition_name="storm", poll_interval_millis=50)
def storm(city: str) -> str:
    raise RuntimeError(f"no storm in {city}")


def configured(api: str, login: list[str]) -> Configuration:
    authentication = AuthenticationSettings(key_id=login[0], key_secret=login[1]) if login else None
    return Configuration(server_api_url=api, authentication_settings=authentication)


def work(api: str, *login: str) -> None:
    with TaskHandler(configuration=configured(api, list(login)), scan_for_annotated_workers=True) as handler:
        handler.start_processes()
        handler.join_processes()


def read(api: str, execution_id: str, *login: str) -> None:
    clients = OrkesClients(configured(api, list(login)))
    workflow = clients.get_workflow_client().get_workflow(execution_id, include_tasks=True)
    metadata = clients.get_metadata_client()
    metadata.register_task_def(TaskDef(name="weather", response_timeout_seconds=30, retry_count=1))
    definition = metadata.get_task_def("weather")
    found = {
        "status": workflow.status,
        "name": workflow.workflow_name,
        "result": workflow.output["result"],
        "tasks": [[task.task_def_name, task.status, task.worker_id] for task in workflow.tasks],
        "timeout": (
            definition["responseTimeoutSeconds"]
            if isinstance(definition, dict)
            else definition.response_timeout_seconds
        ),
    }
    print("FOUND", json.dumps(found))


if __name__ == "__main__":
    {"work": work, "read": read}[sys.argv[1]](*sys.argv[2:])
