"""OpenLineage events: what each stage read and wrote, for a catalogue such as Marquez or DataHub.

An option: events are sent where the client library's own environment variables say how, for example

    OPENLINEAGE_URL=http://marquez:5000                          to a collector, or
    OPENLINEAGE__TRANSPORT='{"type": "file", "log_file_path": "/var/log/lineage.jsonl", "append": true}'

OPENLINEAGE_NAMESPACE names the jobs' namespace. The specification: https://openlineage.io/docs/spec/object-model.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pretrain_data import __version__
from pretrain_data.errors import PretrainDataError

PRODUCER = f"https://pypi.org/project/pretrain-data/{__version__}"
PREFIX = "OPENLINEAGE"
DEFAULT_NAMESPACE = "pretrain-data"


class Silent:
    """Nobody wants events."""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Around everything that is told of one stage; tells of its failure."""
        yield

    def begins(self, source: str, output: Path) -> None:
        """The stage is not up to date and begins."""

    def done(self, manifest: dict[str, Any]) -> None:
        """Its output is committed."""


class Events(Silent):
    """Sends START, COMPLETE and FAIL. A collector that isn't there is a warning: no run is lost for it."""

    def __init__(self, say: Callable[[str], None]) -> None:
        try:
            from openlineage.client import OpenLineageClient
        except ImportError as error:
            raise PretrainDataError(
                f"{PREFIX}_… asks for lineage events, and the package openlineage-python isn't there: "
                "install pretrain-data[lineage], or unset these variables"
            ) from error
        self.client, self.say, self.warned = OpenLineageClient(), say, False
        self.namespace = os.environ.get(f"{PREFIX}_NAMESPACE", DEFAULT_NAMESPACE)
        self.about: dict[str, Any] | None = None  # of the stage at work

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self.name, self.about = name, None
        try:
            yield
        except BaseException as error:
            if self.about is not None:
                self._send("FAIL", error=error)
            raise

    def begins(self, source: str, output: Path) -> None:
        self.about = {"run": str(uuid.uuid4()), "source": source, "output": str(output.resolve())}
        self._send("START")

    def done(self, manifest: dict[str, Any]) -> None:
        self._send("COMPLETE", manifest=manifest)
        self.about = None

    def _send(self, kind: str, manifest: dict[str, Any] | None = None, error: BaseException | None = None) -> None:
        try:
            self.client.emit(self._event(kind, manifest, error))
        except Exception as failure:  # whatever a transport raises
            if not self.warned:
                self.say(f"warning: lineage events can't be sent: {type(failure).__name__}: {failure}")
            self.warned = True

    def _event(self, kind: str, manifest: dict[str, Any] | None, error: BaseException | None) -> Any:
        import pyspark
        from openlineage.client import event_v2 as ol
        from openlineage.client import facet_v2 as facet

        assert self.about is not None
        engine = facet.processing_engine_run.ProcessingEngineRunFacet(
            version=pyspark.__version__, name="spark", openlineageAdapterVersion=__version__
        )
        run: dict[str, Any] = {"processing_engine": engine}
        if error is not None:
            # What other exceptions say may quote a text.
            message = str(error) if isinstance(error, PretrainDataError) else type(error).__name__
            run["errorMessage"] = facet.error_message_run.ErrorMessageRunFacet(message, "python")
        output = ol.OutputDataset("file", self.about["output"])
        if manifest is not None:
            fields = [
                facet.schema_dataset.SchemaDatasetFacetFields(name=name, type=kind_)
                for name, kind_ in manifest["schema"].items()
            ]
            size = sum(s["documents_file"]["bytes"] for s in manifest["shards"] if s["documents_file"])
            output = ol.OutputDataset(
                "file",
                self.about["output"],
                facets={"schema": facet.schema_dataset.SchemaDatasetFacet(fields=fields)},
                outputFacets={
                    "outputStatistics": facet.output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
                        rowCount=manifest["documents"], size=size, fileCount=len(manifest["shards"])
                    )
                },
            )
        return ol.RunEvent(
            eventTime=datetime.now(UTC).isoformat(),
            eventType=ol.RunState[kind],
            run=ol.Run(self.about["run"], facets=run),
            job=ol.Job(self.namespace, self.name),
            inputs=[ol.InputDataset("file", self.about["source"])],
            outputs=[output],
            producer=PRODUCER,
        )


def of_environment(say: Callable[[str], None]) -> Silent:
    """Events where the environment asks for them.

    Raises PretrainDataError where it does and the library isn't there.
    """
    wanted = [name for name in os.environ if name == f"{PREFIX}_URL" or name == f"{PREFIX}_CONFIG"]
    wanted += [name for name in os.environ if name.startswith(f"{PREFIX}__")]
    return Events(say) if wanted and os.environ.get(f"{PREFIX}_DISABLED", "").lower() != "true" else Silent()
