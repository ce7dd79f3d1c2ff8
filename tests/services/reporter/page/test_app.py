"""The page over HTTP on a real port: what it hands out, to whom, and what a follower hears."""

import asyncio
import http.client
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from fedfraud.errors import Misconfigured
from fedfraud.v1 import history_pb2
from services.reporter.desk import write_report
from services.reporter.fold import Facts
from services.reporter.origin import Origin
from services.reporter.page.app import HEADERS, MOST_STREAMS, REPORT_POLICY, application
from services.reporter.page.archive import Archive
from services.reporter.page.feed import Feed
from services.reporter.page.server import PageServer
from services.reporter.report import compose
from tests.services.reporter.journals import RUN, Journal, two_banks

HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})


@dataclass
class Served:
    """A page on a port, its feed, and its reports folder."""

    feed: Feed
    port: int
    reports: Path

    async def get(self, path: str, host: str | None = "", method: str = "GET") -> tuple[int, dict[str, str], str]:
        """Status, headers and text; `host` is the header, its own by default, None for none at all."""
        return await asyncio.to_thread(self._get, path, host, method)

    def _get(self, path: str, host: str | None, method: str) -> tuple[int, dict[str, str], str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.putrequest(method, path, skip_host=True)
        if host is not None:
            connection.putheader("Host", host or f"localhost:{self.port}")
        connection.endheaders()
        response = connection.getresponse()
        found = (
            response.status,
            {name.lower(): value for name, value in response.getheaders()},
            response.read().decode(),
        )
        connection.close()
        return found

    async def follow(self, seen: str = "", last: str = "") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """An open stream of updates, after its headers."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        extra = f"Last-Event-ID: {last}\r\n" if last else ""
        writer.write(f"GET /events?seen={seen} HTTP/1.1\r\nHost: localhost\r\n{extra}\r\n".encode())
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        return reader, writer


async def update(reader: asyncio.StreamReader) -> tuple[str, dict[str, str]]:
    """The next update: its version, and the sections that changed."""
    async with asyncio.timeout(10):
        while True:
            line = (await reader.readline()).decode()
            if line.startswith("id: "):
                version = line.removeprefix("id: ").strip()
            if line.startswith("data: "):
                return version, json.loads(line.removeprefix("data: "))


@pytest_asyncio.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    """A page without a journal yet."""
    feed = Feed(Archive(tmp_path))
    server = PageServer(application(feed, tmp_path, HOSTS), "127.0.0.1:0")
    await server.start()
    yield Served(feed, server.port, tmp_path)
    feed.close()
    await server.stop()


def told(journal: Journal) -> Facts:
    facts = Facts()
    for entry in journal.entries:
        facts.apply(entry)
    return facts


async def test_the_page_comes_with_its_policy_and_all_that_it_asks_for_is_there(served: Served) -> None:
    status, headers, text = await served.get("/")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert {name: headers[name] for name in HEADERS} == HEADERS
    assert "unsafe" not in headers["content-security-policy"]
    for path, kind in (("page.css", "text/css"), ("page.js", "text/javascript"), ("icon.svg", "image/svg+xml")):
        assert f"/static/{path}" in text
        status, headers, _ = await served.get(f"/static/{path}")
        assert (status, headers["content-type"].partition(";")[0]) == (200, kind)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8080", "[::1]", "[::1]:8080"])
async def test_it_answers_to_its_own_names(served: Served, host: str) -> None:
    assert (await served.get("/", host))[0] == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "[::2]:80", "10.0.0.1", None]
)
@pytest.mark.parametrize("path", ["/", "/events", "/facts.json", "/static/page.css"])
async def test_it_answers_to_no_other_name(served: Served, host: str | None, path: str) -> None:
    status, _, text = await served.get(path, host)
    assert status in (400, 421)  # uvicorn itself refuses a request without a host
    assert "fedfraud" not in text


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_it_is_read_only(served: Served, method: str) -> None:
    assert (await served.get("/", method=method))[0] == 405


async def test_facts_are_those_of_the_run_that_goes_on(served: Served) -> None:
    assert (await served.get("/facts.json"))[0] == 404
    facts = told(two_banks())
    served.feed.take(facts)
    status, headers, text = await served.get("/facts.json")
    assert (status, headers["content-type"]) == (200, "application/json")
    assert text == two_banks().facts().to_json()


async def test_a_follower_hears_what_changed_and_nothing_else(served: Served) -> None:
    served.feed.take(told(Journal().started()))
    reader, writer = await served.follow()
    _, first = await update(reader)
    assert set(first) >= {"status", "verdict", "banks", "title"}
    served.feed.take(told(Journal().started().refused("bank-01", "too late")))
    _, second = await update(reader)
    assert "too late" in second["events"]
    assert "convergence" not in second
    writer.close()


async def test_a_page_that_shows_the_newest_is_sent_nothing_until_something_changes(served: Served) -> None:
    text = (await served.get("/"))[2]
    version = text.partition('data-version="')[2].partition('"')[0]
    reader, writer = await served.follow(seen=version)
    await served.feed.set_connected(True)
    later, changed = await update(reader)
    assert changed.keys() == {"status", "verdict", "title"}
    writer.close()
    again, writer = await served.follow(seen=version, last=later)  # as a browser does when it comes back
    served.feed.take(told(Journal().add(lease_granted=history_pb2.LeaseGranted(seat="bank-01", fencing_number=1))))
    assert "banks" in (await update(again))[1]
    writer.close()


async def test_the_number_of_followers_is_bounded_and_one_that_leaves_makes_room(served: Served) -> None:
    streams = [await served.follow() for _ in range(MOST_STREAMS)]
    for reader, _ in streams:
        await update(reader)
    assert (await served.get("/events"))[0] == 503
    for _, writer in streams[:1]:
        writer.close()

    async def room() -> bool:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        line = await asyncio.wait_for(reader.readline(), 10)
        writer.close()
        return b"200" in line

    async with asyncio.timeout(20):
        while not await room():
            served.feed.refresh()  # the stream notices at its next update that nobody reads
    for _, writer in streams[1:]:
        writer.close()


async def test_an_earlier_run_has_a_page_and_its_files(served: Served) -> None:
    folder = served.reports / RUN
    folder.mkdir()
    (folder / "facts.json").write_text(two_banks().facts().to_json())
    (folder / "report.html").write_text("<p>report</p>")
    (folder / "narrative.json").write_text(Origin(model="gpt-5.2", chosen=["Risks"]).model_dump_json())
    (folder / "secret.txt").write_text("no")
    status, _, text = await served.get(f"/runs/{RUN}")
    assert "Chosen by the model <strong>gpt-5.2</strong>: sentences under Risks." in text
    assert status == 200
    assert "an earlier run" in text
    assert 'data-version=""' in text
    status, headers, text = await served.get(f"/runs/{RUN}/report.html")
    assert (status, text, headers["content-security-policy"]) == (200, "<p>report</p>", REPORT_POLICY)
    assert (await served.get(f"/runs/{RUN}/facts.json"))[1]["content-type"] == "application/json"


async def test_the_live_page_says_who_chose_the_reports_sentences_as_soon_as_it_is_written(served: Served) -> None:
    facts = Facts()
    for entry in two_banks().entries:
        facts.apply(entry)
    served.feed.take(facts)
    assert "It is written when the run has ended." in (await served.get("/"))[2]
    (served.reports / RUN).mkdir()
    write_report(served.reports / RUN, compose(two_banks().facts(), note="no key is set"))
    served.feed.refresh()
    assert "Narrative by template: no key is set." in (await served.get("/"))[2]


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/runs/missing",
        f"/runs/{RUN}/secret.txt",
        "/runs/../facts.json",
        "/runs/%2e%2e/facts.json",
        "/runs/..%2f..%2fetc/passwd",
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2f..%2fapp.py",
    ],
)
async def test_what_is_not_there_is_not_found_and_no_path_leads_out(served: Served, path: str) -> None:
    (served.reports / RUN).mkdir(exist_ok=True)
    (served.reports / RUN / "secret.txt").write_text("no")
    (served.reports.parent / "facts.json").write_text("{}")
    status, headers, text = await served.get(path)
    assert status == 404
    assert "Not found" in text
    assert headers["content-security-policy"] == HEADERS["content-security-policy"]


async def test_a_stop_ends_open_streams_at_once(tmp_path: Path) -> None:
    feed = Feed(Archive(tmp_path))
    server = PageServer(application(feed, tmp_path, HOSTS), "127.0.0.1:0")
    await server.start()
    reader, writer = await Served(feed, server.port, tmp_path).follow()
    await update(reader)
    async with asyncio.timeout(4):
        feed.close()
        await server.stop()
        await reader.read()
    writer.close()


async def test_an_address_that_is_taken_or_none_is_refused_with_its_setting(served: Served) -> None:
    app = application(served.feed, served.reports, HOSTS)
    with pytest.raises(Misconfigured, match=r"^PAGE_LISTEN must be an address that is free: .*, 127\.0\.0\.1:"):
        await PageServer(app, f"127.0.0.1:{served.port}").start()
    for listen in ("8080", "localhost:x", ":8080", "localhost:70000"):
        with pytest.raises(Misconfigured, match=r"^PAGE_LISTEN must be host:port, got "):
            await PageServer(app, listen).start()
