"""A data job on many processes, in the manner of serverless frameworks: map, then reduce.

    python examples/job.py [hotrod://...]

Each worker gets a share of the cache's segments and reads just these entries, from the servers that
own them; nothing goes through the process that started the job. What workers find they store in a
cache, too: results may be larger than what one would like to send through a pipe. With another
executor (Lithops, Dask, Ray) the functions stay the same: they take an address and some numbers.
"""

from __future__ import annotations

import multiprocessing
import random
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

from _cluster import cache, cluster

from hotrod_codec import Client

WORKERS = 4
SEGMENTS = 256  # of a cache, unless it is configured otherwise
WORDS = ["river", "mountain", "cloud", "stone", "leaf", "wind"]


def count_words(uri: str, texts: str, results: str, worker: int) -> int:
    """Map: the words in a share of the texts. Returns how many texts there were."""
    words: Counter[str] = Counter()
    number = 0
    with Client(uri) as client:
        for text in client.cache(texts).values(segments=range(worker, SEGMENTS, WORKERS)):
            words.update(text.split())
            number += 1
        client.cache(results, keys="json", values="json").put(f"part {worker}", words)
    return number


def add_up(uri: str, results: str) -> Counter[str]:
    """Reduce."""
    total: Counter[str] = Counter()
    with Client(uri) as client:
        for part in client.cache(results, keys="json", values="json").values():
            total.update(part)
    return total


def main() -> None:
    with (
        cluster() as uri,
        Client(uri) as client,
        cache(client, "example-texts") as texts,
        cache(client, "example-results", "application/json") as results,
    ):
        source = random.Random(1)
        written = {f"text {n}": " ".join(source.choices(WORDS, k=20)) for n in range(2000)}
        client.cache(texts).put_all(written)
        # A process of its own for each worker, as it were on another machine.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(WORKERS, context) as pool:
            jobs = [pool.submit(count_words, uri, texts, results, n) for n in range(WORKERS)]
            for worker, job in enumerate(jobs):
                print(f"worker {worker}: {job.result()} texts")
        total = add_up(uri, results)
        print(total.most_common(3))
        assert total == Counter(word for text in written.values() for word in text.split())


if __name__ == "__main__":
    main()
