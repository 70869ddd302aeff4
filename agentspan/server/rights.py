"""What each route takes: the scopes of which one is needed, and the word under which the audit keeps it.

A verb that is not in the table may be used by whoever may read, if it is GET; a test fails for any other. Runs that
begin and tasks that workers report are in the log of their run: the audit holds what people decide and change.
"""

from typing import NamedTuple


class Right(NamedTuple):
    """`any_of`: the scopes of which one is needed. `action`: how the audit names it, "" if it does not."""

    any_of: tuple[str, ...]
    action: str = ""


READ = Right(("read",))


def right(verb: str, path: str) -> Right | None:
    """What that verb takes there; None if nobody has said so."""
    if found := RIGHTS.get((verb, path)):
        return found
    return READ if verb in ("GET", "HEAD") else None


_TABLE = """
POST   /api/agent/start                                     run
POST   /api/agent/compile                                   read
POST   /api/agent/deploy                                    define       agent.deployed
DELETE /api/agent/{name}                                    define       agent.deleted
POST   /api/agent/{name}/rollback                           define       agent.rolled_back
POST   /api/agent/{name}/begun                              read,run
POST   /api/agent/import                                    run          execution.imported
POST   /api/agent/{execution_id}/signal                     run,control  execution.signaled
POST   /api/agent/{execution_id}/messages                   run,control
POST   /api/agent/{execution_id}/budget                     run          execution.budget_changed
POST   /api/agent/{execution_id}/respond                    answer       request.answered
DELETE /api/agent/{execution_id}/cancel                     control      execution.canceled
PUT    /api/agent/{execution_id}/pause                      control      execution.paused
PUT    /api/agent/{execution_id}/resume                     control      execution.resumed
POST   /api/agent/{execution_id}/stop                       control      execution.stopped
DELETE /api/agent/executions/{execution_id}                 control      execution.deleted
POST   /api/agent/executions/{execution_id}/fork            run          execution.forked
POST   /api/agent/executions/{execution_id}/rerun           run          execution.forked
POST   /api/agent/executions/{execution_id}/retry           run,control  execution.retried
POST   /api/agent/executions/{execution_id}/share           answer       share.created
PUT    /api/agent/executions/bulk/pause                     control      execution.paused
PUT    /api/agent/executions/bulk/resume                    control      execution.resumed
POST   /api/agent/executions/bulk/retry                     run,control  execution.retried
POST   /api/agent/executions/bulk/terminate                 control      execution.canceled
POST   /api/agent/tasks/{execution_id}/{ref}/{status}       work
POST   /api/embeddings                                      run,work

POST   /api/inbox/{request_id}/respond                      answer       request.answered
POST   /api/inbox/{request_id}/link                         answer       request.link_created
POST   /api/inbox/answer/{token}                            answer       request.answered

POST   /api/tasks                                           work
POST   /api/tasks/report                                    work
POST   /api/tasks/poll                                      work
GET    /api/tasks/poll/{name}                               work
GET    /api/tasks/poll/batch/{name}                         work
POST   /api/tasks/extend                                    work
POST   /api/tasks/update-v2                                 work
GET    /api/tasks/{task_id}                                 read,work
GET    /api/tasks/{task_id}/log                             read,work
POST   /api/tasks/{task_id}/log                             work
POST   /api/tasks/{execution_id}/{ref}/{status}             work
POST   /api/tasks/{execution_id}/{ref}/{status}/sync        work

POST   /api/workflow                                        run
POST   /api/workflow/{execution_id}                         run
POST   /api/workflow/execute/{name}/{version}               run
POST   /api/workflow/bulk/search                            read
POST   /api/workflow/{name}/correlated                      read
POST   /api/workflow/{execution_id}/messages                run,control
PUT    /api/workflow/{execution_id}/pause                   control      execution.paused
PUT    /api/workflow/{execution_id}/resume                  control      execution.resumed
POST   /api/workflow/{execution_id}/retry                   run,control  execution.retried
POST   /api/workflow/{execution_id}/rerun                   run          execution.forked
POST   /api/workflow/{execution_id}/terminate               control      execution.canceled
DELETE /api/workflow/{execution_id}                         control      execution.canceled
DELETE /api/workflow/{execution_id}/remove                  admin        execution.removed
DELETE /api/workflow/{execution_id}/terminate-remove        admin        execution.removed
DELETE /api/workflow/bulk/remove                            admin        execution.removed
DELETE /api/workflow/bulk/terminate-remove                  admin        execution.removed
POST   /api/admin/prune                                     admin        executions.pruned
PUT    /api/workflow/bulk/pause                             control      execution.paused
PUT    /api/workflow/bulk/resume                            control      execution.resumed
POST   /api/workflow/bulk/retry                             run,control  execution.retried
POST   /api/workflow/bulk/terminate                         control      execution.canceled

GET    /api/metadata/taskdefs                               read,work
POST   /api/metadata/taskdefs                               define,work
PUT    /api/metadata/taskdefs                               define,work
GET    /api/metadata/taskdefs/{name}                        read,work
DELETE /api/metadata/taskdefs/{name}                        define       task.deleted
DELETE /api/metadata/workflow/{name}/{version}              define       agent.deleted

GET    /api/credentials                                     secrets
POST   /api/credentials                                     secrets      credential.saved
POST   /api/credentials/resolve                             work
POST   /api/credentials/rotate                              secrets      credential.rotated
GET    /api/credentials/bindings                            secrets
PUT    /api/credentials/bindings/{key}                      secrets      credential.bound
DELETE /api/credentials/bindings/{key}                      secrets      credential.unbound
GET    /api/credentials/{name}                              secrets
PUT    /api/credentials/{name}                              secrets      credential.saved
DELETE /api/credentials/{name}                              secrets      credential.deleted

POST   /api/prompts/{name}                                  define       prompt.saved
DELETE /api/prompts/{name}                                  define       prompt.deleted
POST   /api/scheduler/schedules                             define       schedule.saved
DELETE /api/scheduler/schedules/{name}                      define       schedule.deleted
GET    /api/scheduler/schedules/{name}/pause                define       schedule.paused
PUT    /api/scheduler/schedules/{name}/pause                define       schedule.paused
GET    /api/scheduler/schedules/{name}/resume               define       schedule.resumed
PUT    /api/scheduler/schedules/{name}/resume               define       schedule.resumed
POST   /api/scheduler/schedules/{name}/run                  run
PUT    /api/hooks/{name}                                    define       hook.saved
DELETE /api/hooks/{name}                                    define       hook.deleted
POST   /api/hooks/{name}                                    run

GET    /ui                                                  any
POST   /ui                                                  any

GET    /metrics                                             metrics
GET    /actuator/prometheus                                 metrics
GET    /api/config                                          admin

GET    /api/auth/me                                         any
POST   /api/auth/ticket                                     any
POST   /api/auth/password                                   any          user.password_changed
GET    /api/users                                           admin
POST   /api/users                                           admin        user.created
GET    /api/users/{name}                                    admin
PATCH  /api/users/{name}                                    admin        user.changed
DELETE /api/users/{name}                                    admin        user.deleted
GET    /api/keys                                            any
POST   /api/keys                                            any          key.created
DELETE /api/keys/{key_id}                                   any          key.revoked
GET    /api/tenants                                         admin
POST   /api/tenants                                         admin        tenant.created
GET    /api/tenants/{name}                                  admin
PATCH  /api/tenants/{name}                                  admin        tenant.changed
DELETE /api/tenants/{name}                                  admin        tenant.deleted
GET    /api/audit                                           admin
GET    /api/shares                                          read
DELETE /api/shares/{share_id}                               answer       share.revoked
"""

ANY = ("any",)
"""Whoever has shown who they are."""


def _rows() -> dict[tuple[str, str], Right]:
    rows = (line.split() for line in _TABLE.splitlines() if line)
    return {(verb, path): Right(tuple(scopes.split(",")), *action) for verb, path, scopes, *action in rows}


RIGHTS = _rows()

SHARED = frozenset(
    {
        "/ui",
        "/api/auth/me",
        "/api/agent/execution/{execution_id}",
        "/api/agent/executions/{execution_id}",
        "/api/agent/executions/{execution_id}/full",
        "/api/agent/executions/{execution_id}/tasks",
        "/api/agent/stream/{execution_id}",
        "/api/agent/tasks/{task_id}/detail",
        "/api/agent/tasks/{task_id}/log",
        "/api/agent/{execution_id}/at/{seq}",
        "/api/agent/{execution_id}/events",
        "/api/agent/{execution_id}/requests",
        "/api/agent/{execution_id}/result",
        "/api/agent/{execution_id}/status",
        "/api/agent/{execution_id}/steps",
        "/api/agent/{execution_id}/timeline",
        "/api/agent/{execution_id}/why",
    }
)
"""What a shared run can be seen by. The first part of each path is the run, or a task of it."""
