"""What a report can be made of: saved Runs, or a campaign, each in every format. altair is imported to draw alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from clipload import archive
from clipload.campaign import Campaign
from clipload.reports.answers import head_of_campaign
from clipload.reports.campaign_tables import tables_of_campaign
from clipload.reports.campaigns import as_json
from clipload.reports.markdown import markdown_of, markdown_of_campaign, markdown_of_many
from clipload.reports.sheet import sheet, sheet_of_points
from clipload.run import Run

if TYPE_CHECKING:
    from clipload.reports.plots import Plot


class Source(Protocol):
    """Texts end with a newline. `html` is of the plots that it is given, which are those of `plots`."""

    def md(self) -> str: ...

    def csv(self) -> str: ...

    def json(self) -> str: ...

    def plots(self) -> list[Plot]: ...

    def html(self, plots: Sequence[Plot]) -> str: ...


class RunsSource:
    """One Run, or several in the order given."""

    def __init__(self, found: Sequence[tuple[Path, Run]]) -> None:
        self._runs = [run for _, run in found]
        self._names = [path.name or str(path) for path, _ in found]
        self._single = len(self._runs) == 1

    def md(self) -> str:
        return markdown_of(self._runs[0]) if self._single else markdown_of_many(self._runs, self._names)

    def csv(self) -> str:
        return sheet(self._runs, self._names)

    def json(self) -> str:
        documents = [archive.document(run) for run in self._runs]
        return json.dumps(documents[0] if self._single else documents) + "\n"

    def plots(self) -> list[Plot]:
        from clipload.reports.plots import plots_of, plots_of_many

        return plots_of(self._runs[0]) if self._single else plots_of_many(self._runs, self._names)

    def html(self, plots: Sequence[Plot]) -> str:
        from clipload.reports.page import head_of, head_of_many, page
        from clipload.reports.tables import runs_table, tables_of

        tables = tables_of(self._runs[0]) if self._single else [runs_table(self._runs, self._names)]
        return page(head_of(self._runs[0]) if self._single else head_of_many(self._runs), plots, tables, self._names)


class CampaignSource:
    """A find, a sweep, repeats: the answer first."""

    def __init__(self, campaign: Campaign[Any]) -> None:
        self._campaign = campaign

    def md(self) -> str:
        return markdown_of_campaign(head_of_campaign(self._campaign), tables_of_campaign(self._campaign))

    def csv(self) -> str:
        return sheet_of_points(self._campaign.points)

    def json(self) -> str:
        return as_json(self._campaign) + "\n"

    def plots(self) -> list[Plot]:
        from clipload.reports.campaign_plots import plots_of_campaign

        return plots_of_campaign(self._campaign)

    def html(self, plots: Sequence[Plot]) -> str:
        from clipload.reports.page import page

        names = [self._campaign.directory.resolve().name]
        return page(head_of_campaign(self._campaign), plots, tables_of_campaign(self._campaign), names)
