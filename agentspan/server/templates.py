"""Prompt templates: texts with `${variables}`, kept under a name, each change a version."""

from typing import Any

import msgspec

from agentspan.server.handler import Handler, Route
from agentspan.spec.template import variables
from agentspan.store.views import Template

Json = dict[str, Any]


class List(Handler):
    may_be_a_link = True

    async def get(self) -> None:
        """All prompt templates, each in its latest version."""
        self.answer([shown(each) for each in await self.engine.life.templates()])


class One(Handler):
    accepts_text = True
    may_be_a_link = True

    async def get(self, name: str) -> None:
        """A prompt template, in its latest version unless `version` is given."""
        self.answer(shown(await self.engine.life.template(name, self.optional_number("version"))))

    async def post(self, name: str) -> None:
        """Keep a text under a name, as a new version if it differs from the last."""
        models = ",".join(self.params("models"))
        version = await self.engine.life.save_template(name, self._template(), self.param("description"), models)
        self.answer({"name": name, "version": version})

    async def delete(self, name: str) -> None:
        """Remove a prompt template in all its versions; runs that began with it keep its text."""
        await self.engine.life.delete_template(name)
        self.answer_nothing()

    def _template(self) -> str:
        """The text. Conductor's client sends it as a JSON string, with or without its quotes."""
        text = self.text()
        if "json" not in self.request.headers.get("Content-Type", ""):
            return text
        for written in (text, f'"{text}"'):
            try:
                return msgspec.json.decode(written, type=str)
            except msgspec.DecodeError:
                continue
        return text


class Versions(Handler):
    may_be_a_link = True

    async def get(self, name: str) -> None:
        """All versions of a prompt template, the newest first."""
        self.answer([shown(each) for each in await self.engine.life.template_versions(name)])


def shown(row: Template) -> Json:
    return {
        "name": row.name,
        "version": row.version,
        "template": row.text,
        "description": row.description,
        "integrations": row.models.split(",") if row.models else [],
        "variables": variables(row.text),
        "createTime": row.created_at,
        "updatedTime": row.created_at,
    }


ROUTES = [
    Route("/api/prompts", List),
    Route("/api/prompts/{name}", One),
    Route("/api/prompts/{name}/versions", Versions),
]
