"""The fixtures that the package brings for pytest, as users' tests see them.

Each test is a run of pytest on a file that stands here. That the fixtures work on the package that
is installed, whichever that is, is what it is about: nothing is imported from here.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np  # noqa: F401 - a run within this process must not be the first to load it
import pytest

pytest_plugins = ["pytester"]

STRICT = """
[pytest]
filterwarnings =
    error
    ignore:Module already imported so cannot be rewritten; _editable
"""


# Other plugins would be loaded anew for each run, which takes longer than all else.
ALONE = [f"-pno:{name}" for name in ("cacheprovider", "hypothesispytest", "benchmark")]


def run(pytester: pytest.Pytester, test: str, ini: str = "") -> pytest.RunResult:
    pytester.makeini(STRICT + ini)
    pytester.makepyfile(test)
    return pytester.runpytest_inprocess(*ALONE)


def test_it_is_found_by_its_entry_point() -> None:
    (found,) = entry_points(group="pytest11", name="hotrod")
    assert found.value == "hotrod_codec.pytest_plugin"


def test_each_test_has_everything_as_new(pytester: pytest.Pytester) -> None:
    test = """
        import pytest

        from hotrod_codec import Client

        seen = []

        @pytest.mark.parametrize("turn", range(2))
        def test_of_one(hotrod_server, hotrod_client, hotrod_cache, turn):
            assert hotrod_cache.size() == 0
            hotrod_client.cache("users").put("ada", "1815")
            assert hotrod_client.cache("users").size() == 1
            names = {n for n in hotrod_client.admin.cache_names() if n[0] != "_"}
            assert names == {"default", "users", "octets"}
            hotrod_client.admin.create_cache("mine", "local-cache: {}")
            hotrod_server.advance(60)
            hotrod_server.faults.silence()
            seen.append((hotrod_server, hotrod_server.uri))

        @pytest.mark.parametrize("turn", range(2))
        def test_of_three(hotrod_cluster, turn):
            with Client(hotrod_cluster.uri) as client:
                cache = client.cache("users")
                assert cache.is_empty()
                cache.put_all({f"{n}": "v" for n in range(50)})
                assert len(hotrod_cluster.addresses) == 3
                hotrod_cluster.kill_node(1)
                assert cache.size() == 50

        def test_it_was_one_server():
            assert seen[0] == seen[1]
    """
    ini = "hotrod_caches =\n    users = text/plain\n    octets"
    run(pytester, test, ini).assert_outcomes(passed=5)


def test_options_are_overridden(pytester: pytest.Pytester) -> None:
    test = """
        import pytest

        from hotrod_codec import RequestTimeoutError

        @pytest.fixture(scope="session")
        def hotrod_server_options():
            return {"nodes": 2, "users": {"ada": "secret"}}

        @pytest.fixture
        def hotrod_client_options():
            return {"request_timeout": 0.5, "max_retries": 0}

        def test_both(hotrod_server, hotrod_cache):
            assert len(hotrod_server.addresses) == 2
            assert "ada:" in hotrod_server.uri
            hotrod_cache.put("k", "v")
            hotrod_server.faults.drop()
            with pytest.raises(RequestTimeoutError):
                hotrod_cache.get("k")
    """
    run(pytester, test).assert_outcomes(passed=1)


def test_fixtures_of_a_wider_scope_keep_what_they_made(pytester: pytest.Pytester) -> None:
    test = """
        import pytest

        from hotrod_codec import Client

        @pytest.fixture(scope="module")
        def filled(hotrod_session_server):
            with Client(hotrod_session_server.uri) as client:
                client.cache().put("k", "v")
                yield client.cache()

        def test_first(filled):
            assert filled.size() == 1

        def test_second(filled):
            assert filled.size() == 1

        def test_third(filled, hotrod_cache):  # who asks for an empty server gets one
            assert filled.size() == hotrod_cache.size() == 0
    """
    run(pytester, test).assert_outcomes(passed=3)


def test_a_test_may_stop_the_server(pytester: pytest.Pytester) -> None:
    test = """
        def test_first(hotrod_server, hotrod_cache):
            hotrod_cache.put("k", "v")
            hotrod_server.stop()

        def test_second(hotrod_cache):
            assert hotrod_cache.get("k") is None
    """
    run(pytester, test).assert_outcomes(passed=2)


# What plugins for asynchronous tests do, in one line: a loop that ends before fixtures are torn
# down. A connection left open in it would be a warning, and with that an error.
RUNS_COROUTINES = """
import asyncio, gc, inspect, pytest

@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    if inspect.iscoroutinefunction(pyfuncitem.obj):
        arguments = pyfuncitem._fixtureinfo.argnames
        asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in arguments}))
        gc.collect()
        return True
"""


def test_the_asynchronous_client(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(RUNS_COROUTINES)
    test = """
        import asyncio, gc

        class TestClass:
            async def test_of_a_method(self, hotrod_async_client, hotrod_cache):
                await hotrod_async_client.cache().put("k", "v")
                assert hotrod_cache.get("k") == "v"

        async def test_that_fails(hotrod_async_client):
            assert await hotrod_async_client.cache().get("k") == "wrong"

        def test_with_a_loop_of_its_own(hotrod_async_client):
            async def main():
                async with hotrod_async_client as client:
                    return await client.cache().size()

            assert asyncio.run(main()) == 0

        def test_with_a_loop_that_lives_on(hotrod_async_client):
            loop = asyncio.new_event_loop()
            assert loop.run_until_complete(hotrod_async_client.cache().size()) == 0
            assert loops == []
            loops.append(loop)

        loops = []

        def test_nothing_is_left(hotrod_server):
            (loop,) = loops
            loop.run_until_complete(asyncio.sleep(0.01))
            loop.close()
            gc.collect()
    """
    run(pytester, test).assert_outcomes(passed=4, failed=1)


def test_a_cache_that_is_none(pytester: pytest.Pytester) -> None:
    result = run(pytester, "def test(hotrod_server): pass", "hotrod_caches = users=")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*hotrod_caches: 'users=' is no NAME or NAME=MEDIA-TYPE*"])


def test_the_samples_of_the_document(pytester: pytest.Pytester) -> None:
    text = (Path(__file__).parent.parent / "docs/embedded-server.md").read_text("utf-8")
    tests, conftest = re.findall(r"^```python\n(.*?)^```", section(text, "In pytest"), re.M | re.S)
    pytester.makeconftest(conftest)
    run(pytester, tests).assert_outcomes(passed=4)


def section(text: str, title: str) -> str:
    return text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_who_does_not_use_it_pays_nothing(pytester: pytest.Pytester) -> None:
    # In a process of its own: what is loaded here, and not yet, is the question.
    pytester.makeini(STRICT)
    pytester.makepyfile(
        """
        import sys, threading

        def test_that_has_nothing_to_do_with_it():
            assert "hotrod_codec.pytest_plugin" in sys.modules
            slow = {"numpy", "asyncio", "ssl", "socket", "hotrod_codec.client",
                    "hotrod_codec.server"}
            assert slow & set(sys.modules) <= SLOW_BEFORE
            assert threading.active_count() == 1
    """.replace("SLOW_BEFORE", repr(without_the_plugin(pytester)))
    )
    pytester.runpytest_subprocess(*ALONE).assert_outcomes(passed=1)


def without_the_plugin(pytester: pytest.Pytester) -> set[str]:
    """The modules that pytest itself and other plugins load."""
    code = """
import sys, pytest
class Look:
    def pytest_sessionstart(self): print("loaded:", *sys.modules)
pytest.main(["-p", "no:hotrod", "-q", *%r], plugins=[Look()])
"""
    result = pytester.run(sys.executable, "-c", code % ALONE)
    (line,) = [line for line in result.outlines if line.startswith("loaded:")]
    return set(line.split())
