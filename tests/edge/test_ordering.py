"""Archiving, draining and pausing of apps over REST, by the command line, in Python, and over a restart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stepwell import Event, NotFound, Stepwell
from stepwell.model.questions import Outcomes
from tests.edge.conftest import Dev, eventually


def give(dev: Dev, kind: str, **order: str) -> Any:
    reply = dev.http("POST", "/v2/orders", {"kind": kind, **order})
    assert reply.status == 200, reply
    return reply.json["data"]


def test_a_drain_shows_what_it_is_about_and_why(dev: Dev) -> None:
    given = give(dev, "drain", reason="moving")
    assert dev.get("/v2/orders") == [given]
    assert {**given, "since": ""} == {
        "kind": "drain",
        "functionId": None,
        "appId": None,
        "since": "",
        "reason": "moving",
        "events": None,
        "runs": None,
    }
    shown = dev.get("/v2/functions/shop-bill")["drained"]
    assert (shown["about"], shown["reason"]) == ("all", "moving")
    assert "shop-bill  drained" in dev.cli("functions").out

    event_id = dev.send("shop/ordered")
    invoked = dev.http("POST", "/v2/apps/shop/functions/bill/invoke", {"data": {}})
    (outcome,) = dev.get(f"/v2/events/{event_id}/runs")["outcomes"]
    assert (outcome["functionId"], outcome["kind"]) == ("shop-bill", "drained")
    said = dev.cli("why", event_id).out
    assert "It did not start shop-bill, drained: everything has been drained since" in said
    assert (invoked.status, invoked.json["errors"][0]["code"]) == (409, "drained")

    reply = dev.http("DELETE", "/v2/orders?kind=drain")
    assert (reply.json["data"]["withdrawn"], reply.json["data"]["order"]) == (True, given)
    assert dev.get("/v2/orders") == []
    assert dev.ended(dev.start("shop/ordered"))["status"] == "COMPLETED"


def test_the_commands_archive_and_unarchive(dev: Dev) -> None:
    done = dev.cli("archive", "bill", "--reason", "replaced")
    assert (done.code, done.out.splitlines()) == (
        0,
        ["shop-bill is archived. Its runs go on.", "Bring it back: stepwell unarchive shop-bill"],
    )
    assert "shop-bill  archived" in dev.cli("functions").out
    event_id = dev.send("shop/ordered")
    assert "It did not start shop-bill, which is archived: nothing starts it now." in dev.cli("why", event_id).out
    assert "  did not start shop-bill, which is archived\n" in dev.cli("send", "shop/ordered").out
    assert dev.get(f"/v2/events/{event_id}/runs")["outcomes"] == []

    assert dev.cli("unarchive", "shop-bill").out == "shop-bill is archived no more.\n"
    assert dev.cli("unarchive", "shop-bill").out == "shop-bill was not archived by an operator.\n"
    assert dev.ended(dev.start("shop/ordered"))["status"] == "COMPLETED"


def test_the_commands_drain_and_undrain(dev: Dev) -> None:
    assert dev.cli("drain", "--app", "shop").out.splitlines() == [
        "App shop is drained. Nothing new begins; runs go on.",
        "Let new runs begin again: stepwell undrain --app shop",
    ]
    assert dev.cli("drain", "--all", "--json").json["appId"] is None
    assert dev.cli("undrain", "--app", "shop").out.splitlines() == [
        "App shop is drained no more.",
        "Everything still is: stepwell undrain --all",
    ]
    assert dev.cli("undrain", "--all").out == "Everything is drained no more.\n"
    assert dev.cli("undrain", "--all", "--json").json == {"withdrawn": False, "order": None, "remains": None}
    assert dev.cli("drain").code == 2
    assert dev.cli("archive", "bill", "--app", "shop").code == 2


@pytest.mark.parametrize(
    ("wider", "said"),
    [
        ("--app shop", "Its app still is: stepwell undrain --app shop"),
        ("--all", "Everything still is: stepwell undrain --all"),
    ],
)
def test_who_takes_back_an_order_hears_of_the_wider_one_that_holds(dev: Dev, wider: str, said: str) -> None:
    assert dev.cli("drain", *wider.split()).code == 0

    done = dev.cli("undrain", "bill")
    assert (done.code, done.out) == (0, f"bill was not drained.\n{said}\n")
    remains = dev.cli("undrain", "bill", "--json").json["remains"]
    assert (remains["kind"], remains["appId"]) == ("drain", "shop" if "app" in wider else None)

    assert dev.cli("undrain", *wider.split()).out.endswith("is drained no more.\n")


def test_an_app_is_paused_and_resumed(dev: Dev) -> None:
    done = dev.cli("pause", "--app", "shop", "--events", "hold", "--reason", "the bank is down")
    assert done.out.splitlines() == [
        "App shop is paused. Events start runs that wait. The runs that there are go on.",
        "Let it go on: stepwell resume --app shop",
    ]
    run_id = dev.start("shop/ordered")
    assert dev.why(run_id, "paused")["reason"] == "the bank is down"
    assert "stepwell resume --app shop" in dev.cli("why", run_id).out

    assert dev.cli("resume", "--app", "shop").out == "App shop goes on.\n"
    assert dev.ended(run_id)["status"] == "COMPLETED"


def test_a_function_is_paused_by_an_order_as_by_its_own_address(dev: Dev) -> None:
    given = give(dev, "pause", functionId="bill", events="hold")
    assert dev.get("/v2/functions/shop-bill")["pause"]["events"] == "hold"
    assert dev.get("/v2/orders") == [given]
    assert dev.http("DELETE", "/v2/orders?kind=pause&functionId=bill").json["data"]["withdrawn"]
    assert dev.get("/v2/functions/shop-bill")["pause"] is None


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"kind": "stop"}, 400, "invalid-body"),
        ({"kind": "archive"}, 400, "invalid-order"),
        ({"kind": "drain", "functionId": "bill", "appId": "shop"}, 400, "invalid-order"),
        ({"kind": "drain", "functionId": "none"}, 404, "not-found"),
        ({"kind": "drain", "appId": "none"}, 404, "not-found"),
        ({"kind": "drain", "reason": "two\nlines"}, 400, "invalid-configuration"),
    ],
)
def test_what_cannot_be_is_refused(dev: Dev, body: Any, status: int, code: str) -> None:
    reply = dev.http("POST", "/v2/orders", body)

    assert (reply.status, reply.json["errors"][0]["code"]) == (status, code)


def test_what_is_taken_back_has_to_be_said(dev: Dev) -> None:
    reply = dev.http("DELETE", "/v2/orders")

    assert (reply.status, reply.json["errors"][0]["code"]) == (400, "invalid-parameter")


@pytest.mark.slow
def test_orders_outlive_the_process(start_dev: Callable[..., Dev]) -> None:
    first = start_dev()
    eventually(lambda: first.http("GET", "/health").status == 200)
    give(first, "archive", functionId="bill")
    give(first, "drain", appId="shop")
    first.process.kill()
    first.exit_code()

    second = start_dev()
    eventually(lambda: second.http("GET", "/health").status == 200)
    assert [(each["kind"], each["functionId"], each["appId"]) for each in second.get("/v2/orders")] == [
        ("archive", "shop-bill", None),
        ("drain", None, "shop"),
    ]
    assert second.get("/v2/functions/shop-bill")["archived"]["about"] == "function"


# In Python ------------------------------------------------------------------------------------------------------------


def shop() -> Stepwell:
    app = Stepwell("shop")

    @app.create_function(id="bill", trigger="shop/ordered")
    async def bill(ctx: Any) -> str:
        return "billed"

    return app


async def test_other_processes_on_the_file_hear_of_it(tmp_path: Path) -> None:
    app, other = shop(), shop()
    async with app.embedded(tmp_path / "one.db") as leader, other.embedded(tmp_path / "one.db") as follower:
        await follower.drain(reason="moving")
        (event_id,) = await app.send(Event("shop/ordered"))
        assert await leader.runs(event_id) == []
        assert [each.kind for each in await leader.engine.store.read(Outcomes(event_id))] == ["drained"]
        assert await leader.undrain()

        await leader.archive("bill")
        (event_id,) = await other.send(Event("shop/ordered"))
        assert await leader.runs(event_id) == []
        assert await follower.unarchive("bill")
        assert not await leader.unarchive("bill")
        (event_id,) = await app.send(Event("shop/ordered"))
        (run,) = await leader.runs(event_id)
        assert await leader.wait(run.id) == "billed"


async def test_a_function_that_there_is_not_is_refused() -> None:
    async with shop().embedded(":memory:") as engine:
        with pytest.raises(NotFound, match="there is no function 'shop-none'"):
            await engine.archive("none")
